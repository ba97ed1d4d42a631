#include "engine/optim/averages.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/elementwise.h"
#include "kernels/ops/averages.h"

namespace fairway::optim {
namespace {

constexpr int64_t kElements = 16384;

}  // namespace

Averages::Averages(const AverageConfig& config, model::Gpt& model) : config_(config) {
  const bool ema = config.ema_decay > 0.0, snapshots = config.snapshot_every > 0;
  if (!ema && !snapshots) return;
  for (auto& p : model.parameters()) {
    Slot slot{p.get(), {}, {}};
    if (ema) slot.ema.resize(static_cast<size_t>(p->count()));
    if (snapshots) slot.sum.resize(static_cast<size_t>(p->count()));
    slot.sum.zero();
    slots_.push_back(std::move(slot));
  }
  begin();
}

void Averages::begin() {
  for (Slot& s : slots_) {
    if (s.ema.size() != 0) std::copy_n(s.parameter->value(), s.parameter->count(), s.ema.data());
  }
}

void Averages::update(double multiplier, int64_t completed_steps) {
  const float decay = static_cast<float>(config_.ema_decay), rest = static_cast<float>(1.0 - config_.ema_decay);
  const bool snapshot = config_.snapshot_every > 0 && completed_steps % config_.snapshot_every == 0 &&
                        completed_steps >= config_.snapshot_from && (config_.snapshot_below <= 0.0 || multiplier < config_.snapshot_below);
  for (Slot& s : slots_) {
    const float* w = s.parameter->value();
    float *ema = s.ema.data(), *sum = s.sum.data();
    const bool has_ema = s.ema.size() != 0;
    const float* taken = config_.snapshots_of_ema && has_ema ? ema : w;
    kernels::parallel_ranges(s.parameter->count(), kElements, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; has_ema && i < end; ++i) ema[i] = ops::ema_element(ema[i], w[i], decay, rest);
      for (int64_t i = begin; snapshot && i < end; ++i) sum[i] = ops::snapshot_element(sum[i], taken[i]);
    });
  }
  if (snapshot) count_ += 1.0f;
}

bool Averages::apply() {
  if (config_.final_weights == FinalWeights::kLast) return true;
  if (config_.final_weights == FinalWeights::kSnapshots && count_ == 0.0f) return false;
  for (Slot& s : slots_) {
    float* w = s.parameter->value();
    for (int64_t i = 0; i < s.parameter->count(); ++i) {
      w[i] = config_.final_weights == FinalWeights::kEma ? s.ema.data()[i] : s.sum.data()[i] / count_;
    }
    if (s.parameter->bf16()) kernels::round_to_bf16(s.parameter->values());
    s.parameter->changed();
  }
  return true;
}

std::vector<StateTensor> Averages::state() {
  std::vector<StateTensor> tensors;
  for (Slot& s : slots_) {
    if (s.ema.size() != 0) tensors.push_back({s.parameter->name() + ".ema", s.ema});
    if (s.sum.size() != 0) tensors.push_back({s.parameter->name() + ".snapshots", s.sum});
  }
  if (config_.snapshot_every > 0) tensors.push_back({"snapshots.count", std::span(&count_, 1)});
  return tensors;
}

}  // namespace fairway::optim

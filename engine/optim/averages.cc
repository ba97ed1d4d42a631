#include "engine/optim/averages.h"

#include <algorithm>

#include "kernels/elementwise.h"

namespace fairway::optim {

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
    if (s.ema.size() != 0) executor_->copy(s.parameter->data(), s.parameter->count(), s.ema.data());
  }
}

void Averages::use(kernels::Executor& executor) {
  executor_ = &executor;
  for (Slot& s : slots_) {
    s.ema.use(executor.memory(), "the moving average");
    s.sum.use(executor.memory(), "the sum of snapshots");
  }
}

void Averages::download() {
  for (Slot& s : slots_) {
    s.ema.download();
    s.sum.download();
  }
}

void Averages::upload() {
  for (Slot& s : slots_) {
    s.ema.upload();
    s.sum.upload();
  }
}

void Averages::update(double multiplier, int64_t completed_steps) {
  const float decay = static_cast<float>(config_.ema_decay), rest = static_cast<float>(1.0 - config_.ema_decay);
  const bool snapshot = config_.snapshot_every > 0 && completed_steps % config_.snapshot_every == 0 &&
                        completed_steps >= config_.snapshot_from && (config_.snapshot_below <= 0.0 || multiplier < config_.snapshot_below);
  for (Slot& s : slots_) {
    const int64_t count = s.parameter->count();
    const float* w = s.parameter->data();
    const bool has_ema = s.ema.size() != 0;
    if (has_ema) executor_->average(w, decay, rest, count, s.ema.data());
    if (snapshot) executor_->add_to(config_.snapshots_of_ema && has_ema ? s.ema.data() : w, count, s.sum.data());
  }
  if (snapshot) count_ += 1.0f;
}

bool Averages::apply() {
  if (config_.final_weights == FinalWeights::kLast) return true;
  if (config_.final_weights == FinalWeights::kSnapshots && count_ == 0.0f) return false;
  for (Slot& s : slots_) {
    float* w = s.parameter->value();
    const std::span<const float> ema = s.ema.host(), sum = s.sum.host();
    for (int64_t i = 0; i < s.parameter->count(); ++i) {
      w[i] = config_.final_weights == FinalWeights::kEma ? ema[static_cast<size_t>(i)] : sum[static_cast<size_t>(i)] / count_;
    }
    if (s.parameter->bf16()) kernels::round_to_bf16(s.parameter->values());
    s.parameter->changed();
  }
  return true;
}

std::vector<StateTensor> Averages::state() {
  std::vector<StateTensor> tensors;
  for (Slot& s : slots_) {
    if (s.ema.size() != 0) tensors.push_back({s.parameter->name() + ".ema", s.ema.host()});
    if (s.sum.size() != 0) tensors.push_back({s.parameter->name() + ".snapshots", s.sum.host()});
  }
  if (config_.snapshot_every > 0) tensors.push_back({"snapshots.count", std::span(&count_, 1)});
  return tensors;
}

}  // namespace fairway::optim

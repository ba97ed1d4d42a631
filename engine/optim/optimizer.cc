#include "engine/optim/optimizer.h"

#include "kernels/accumulate.h"
#include "kernels/cpu/parallel.h"
#include "kernels/elementwise.h"
#include "kernels/num/scalar64.h"
#include "kernels/ops/adam.h"
#include "kernels/ops/muon.h"
#include "kernels/rows.h"

namespace fairway::optim {
namespace {

constexpr int64_t kElements = 16384;

}  // namespace

Optimizer::Optimizer(const OptimizerConfig& config, model::Gpt& model) : config_(config) {
  for (auto& p : model.parameters()) {
    Slot slot;
    slot.parameter = p.get();
    const size_t count = static_cast<size_t>(p->count());
    slot.gradient.resize(count);
    slot.first.resize(count);
    slot.first.zero();
    if (p->group() != model::Group::kMatrix) {
      slot.second.resize(count);
      slot.second.zero();
    }
    slots_.push_back(std::move(slot));
  }
}

std::vector<StateTensor> Optimizer::state() {
  std::vector<StateTensor> tensors;
  for (Slot& s : slots_) {
    const bool matrix = s.parameter->group() == model::Group::kMatrix;
    tensors.push_back({s.parameter->name() + (matrix ? ".momentum" : ".adam_m"), s.first});
    if (!matrix) tensors.push_back({s.parameter->name() + ".adam_v", s.second});
  }
  return tensors;
}

Status Optimizer::step(int64_t step, double multiplier, int64_t tokens) {
  for (Slot& s : slots_) {
    kernels::accumulated_mean(s.parameter->gradient(), s.parameter->count(), static_cast<float>(tokens), s.gradient.data());
  }
  if (config_.grad_clip_norm > 0.0) FAIRWAY_TRY(clip());
  // Matrices are independent, and one core per matrix keeps it in that core's cache through all iterations.
  std::vector<Slot*> matrices;
  for (Slot& s : slots_) {
    if (s.parameter->group() == model::Group::kMatrix) matrices.push_back(&s);
  }
  std::vector<Status> updated(matrices.size());
  kernels::parallel_for(static_cast<int64_t>(matrices.size()), [&](int64_t i) {
    updated[static_cast<size_t>(i)] = muon(*matrices[static_cast<size_t>(i)], step, multiplier);
  });
  for (Status& status : updated) FAIRWAY_TRY(std::move(status));
  for (Slot& s : slots_) {
    if (s.parameter->group() != model::Group::kMatrix) FAIRWAY_TRY(adam(s, step, multiplier));
    if (!kernels::all_finite(s.parameter->values())) {
      return Error{Errc::kData, s.parameter->name(), "the parameter is not finite after the update; lower its learning rate"};
    }
    s.parameter->changed();
  }
  return {};
}

Status Optimizer::clip() {
  kernels::SumOfSquares squares;
  for (Slot& s : slots_) {
    if (!squares.add(s.gradient)) return Error{Errc::kData, s.parameter->name(), "the gradient is not finite"};
  }
  const double norm = num::sqrt(squares.total());
  const double ratio = config_.grad_clip_norm / (norm + 1e-6);
  if (ratio >= 1.0) return {};
  const float factor = static_cast<float>(ratio);
  for (Slot& s : slots_) {
    float* g = s.gradient.data();
    kernels::parallel_ranges(s.parameter->count(), kElements, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) g[i] = g[i] * factor;
    });
  }
  return {};
}

Status Optimizer::adam(Slot& slot, int64_t step, double multiplier) {
  const bool embedding = slot.parameter->group() == model::Group::kEmbedding;
  const double lr = (embedding ? config_.tied_embed_lr : config_.scalar_lr) * multiplier;
  const uint64_t t = static_cast<uint64_t>(step) + 1;
  ops::AdamStep s;
  s.lr = static_cast<float>(lr);
  s.beta1 = static_cast<float>(config_.beta1);
  s.beta2 = static_cast<float>(config_.beta2);
  s.rest1 = static_cast<float>(1.0 - config_.beta1);
  s.rest2 = static_cast<float>(1.0 - config_.beta2);
  s.correction1 = static_cast<float>(1.0 - num::pow_int_64(config_.beta1, t));
  s.correction2 = static_cast<float>(1.0 - num::pow_int_64(config_.beta2, t));
  s.eps = static_cast<float>(config_.adam_eps);
  const bool bf16 = slot.parameter->bf16();
  float *w = slot.parameter->value(), *m = slot.first.data(), *v = slot.second.data();
  const float* g = slot.gradient.data();
  kernels::parallel_ranges(slot.parameter->count(), kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ops::adam_element(g[i], bf16, s, m[i], v[i], w[i]);
  });
  return {};
}

Status Optimizer::muon(Slot& slot, int64_t step, double multiplier) {
  model::Parameter& p = *slot.parameter;
  const int64_t rows = p.rows(), columns = p.columns();
  const float mu = static_cast<float>(momentum_at(config_.momentum, step));
  const float lr = static_cast<float>(config_.matrix_lr * multiplier);
  float *u = slot.gradient.data(), *momentum = slot.first.data(), *w = p.value();
  kernels::parallel_ranges(p.count(), kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) u[i] = ops::muon_momentum(u[i], mu, momentum[i]);
  });
  thread_local NewtonSchulzScratch scratch;
  if (!newton_schulz(u, 1, rows, columns, config_.newton_schulz_steps, config_.newton_schulz, scratch)) {
    return Error{Errc::kData, p.name(), "the momentum is not finite"};
  }
  const double ratio = static_cast<double>(rows) / static_cast<double>(columns);
  const float shape_factor = static_cast<float>(num::sqrt(ratio > 1.0 ? ratio : 1.0));
  kernels::parallel_ranges(p.count(), kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) w[i] = ops::muon_update(w[i], u[i], shape_factor, lr);
  });
  return {};
}

}  // namespace fairway::optim

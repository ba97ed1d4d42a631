#include "engine/optim/optimizer.h"

#include "engine/model/unit_vectors.h"
#include "kernels/accumulate.h"
#include "kernels/cpu/parallel.h"
#include "kernels/elementwise.h"
#include "kernels/num/scalar64.h"
#include "kernels/ops/adam.h"
#include "kernels/ops/muon.h"
#include "kernels/ops/worker_mean.h"
#include "kernels/rows.h"

namespace fairway::optim {
namespace {

constexpr int64_t kElements = 16384;

}  // namespace

Optimizer::Optimizer(const OptimizerConfig& config, model::Gpt& model) : config_(config), averages_(config.averages, model) {
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
    if (config.clip_scope == ClipScope::kWorker) {
      slot.worker_sum.resize(count);
      slot.worker_sum.zero();
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
  for (StateTensor& t : averages_.state()) tensors.push_back(std::move(t));
  return tensors;
}

void Optimizer::mean_gradients(int64_t tokens) {
  for (Slot& s : slots_) {
    kernels::accumulated_mean(s.parameter->gradient(), s.parameter->count(), static_cast<float>(tokens), s.gradient.data());
  }
}

Status Optimizer::step(int64_t step, double multiplier, int64_t tokens) {
  mean_gradients(tokens);
  if (config_.grad_clip_norm > 0.0) FAIRWAY_TRY(clip());
  return update(step, multiplier);
}

Status Optimizer::take_worker(int64_t tokens) {
  FAIRWAY_CHECK(config_.clip_scope == ClipScope::kWorker && config_.grad_clip_norm > 0.0);
  mean_gradients(tokens);
  FAIRWAY_TRY(clip());
  const double unit = ops::worker_unit(config_.grad_clip_norm);
  for (Slot& s : slots_) {
    const bool bf16 = parallel_muon(s);
    const float* g = s.gradient.data();
    int64_t* sum = s.worker_sum.data();
    kernels::parallel_ranges(s.parameter->count(), kElements, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) sum[i] += ops::worker_units(bf16 ? num::round_to_bf16(g[i]) : g[i], unit);
    });
  }
  return {};
}

Status Optimizer::step_of_workers(int64_t step, double multiplier, int64_t workers) {
  const int32_t exponent = ops::worker_exponent(config_.grad_clip_norm);
  const float count = static_cast<float>(workers);
  for (Slot& s : slots_) {
    float* g = s.gradient.data();
    int64_t* sum = s.worker_sum.data();
    kernels::parallel_ranges(s.parameter->count(), kElements, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) g[i] = num::grid_value(sum[i], exponent) / count;
    });
    s.worker_sum.zero();
  }
  return update(step, multiplier);
}

Status Optimizer::update(int64_t step, double multiplier) {
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
    FAIRWAY_TRY(model::normalise_vectors(*s.parameter));
  }
  averages_.update(multiplier, step + 1);
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
  const model::Group group = slot.parameter->group();
  const double base_lr = group == model::Group::kEmbedding ? config_.tied_embed_lr
                         : group == model::Group::kHead    ? config_.head_lr
                                                           : config_.scalar_lr;
  const double lr = base_lr * multiplier;
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
  if (group != model::Group::kHead) s.decay = static_cast<float>(1.0 - lr * config_.adam_wd);
  const bool bf16 = slot.parameter->bf16();
  float *w = slot.parameter->value(), *m = slot.first.data(), *v = slot.second.data();
  const float* g = slot.gradient.data();
  kernels::parallel_ranges(slot.parameter->count(), kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ops::adam_element(g[i], bf16, s, m[i], v[i], w[i]);
  });
  return {};
}

bool Optimizer::whiten(float* u, int64_t rows, int64_t columns) const {
  if (config_.whitening == Whitening::kMud) {
    thread_local MudScratch scratch;
    return mud(u, rows, columns, config_.mud_passes, config_.newton_schulz, scratch);
  }
  thread_local NewtonSchulzScratch scratch;
  return newton_schulz(u, 1, rows, columns, config_.newton_schulz_steps, config_.newton_schulz, scratch);
}

Status Optimizer::muon(Slot& slot, int64_t step, double multiplier) {
  model::Parameter& p = *slot.parameter;
  const int64_t rows = p.rows(), columns = p.columns();
  const float mu = static_cast<float>(momentum_at(config_.momentum, step));
  const double lr = config_.matrix_lr * multiplier;
  const bool parallel = parallel_muon(slot), bf16_state = parallel || p.bf16();
  float *u = slot.gradient.data(), *momentum = slot.first.data(), *w = p.value();
  kernels::parallel_ranges(p.count(), kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      u[i] = bf16_state ? ops::muon_momentum_bf16(u[i], mu, momentum[i]) : ops::muon_momentum(u[i], mu, momentum[i]);
    }
  });
  if (!whiten(u, rows, columns)) return Error{Errc::kData, p.name(), "the momentum is not finite"};
  const double ratio = static_cast<double>(rows) / static_cast<double>(columns);
  const double shape_factor = num::sqrt(ratio > 1.0 ? ratio : 1.0);
  const float decay = static_cast<float>(1.0 - lr * config_.muon_wd);
  const float before = config_.muon_wd_after ? 1.0f : decay, after = config_.muon_wd_after ? decay : 1.0f;
  const float scaled_lr = static_cast<float>(lr * shape_factor), plain_lr = static_cast<float>(lr), shape = static_cast<float>(shape_factor);
  kernels::parallel_ranges(p.count(), kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      w[i] = parallel ? ops::parallel_muon_update(w[i], u[i], scaled_lr, decay)
                      : ops::muon_update(w[i], u[i], shape, plain_lr, before, after);
    }
  });
  if (p.bf16()) kernels::round_to_bf16(p.values());
  return {};
}

}  // namespace fairway::optim

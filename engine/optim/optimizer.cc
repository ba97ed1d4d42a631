#include "engine/optim/optimizer.h"

#include <algorithm>

#include "engine/model/unit_vectors.h"
#include "kernels/cpu/parallel.h"
#include "kernels/num/scalar64.h"
#include "kernels/ops/worker_mean.h"

namespace fairway::optim {

using model::Group;

Optimizer::Optimizer(const OptimizerConfig& config, model::Gpt& model) : config_(config), averages_(config.averages, model) {
  const std::vector<model::Parameter*> trained = model.tape().finishing_order();
  for (auto& p : model.parameters()) {
    Slot slot;
    slot.parameter = p.get();
    slot.trained = std::find(trained.begin(), trained.end(), p.get()) != trained.end();
    const size_t count = static_cast<size_t>(p->count());
    slot.first.resize(count);
    slot.first.zero();
    if (p->group() != Group::kMatrix) {
      slot.second.resize(count);
      slot.second.zero();
    } else {
      const auto same = [&](const Shape& s) { return s.rows == p->rows() && s.columns == p->columns(); };
      auto shape = std::find_if(shapes_.begin(), shapes_.end(), same);
      if (shape == shapes_.end()) shape = shapes_.insert(shape, Shape{p->rows(), p->columns(), {}});
      shape->slots.push_back(slots_.size());
    }
    if (config.clip_scope == ClipScope::kWorker) {
      slot.worker_sum.resize(count);
      slot.worker_sum.zero();
    }
    slots_.push_back(std::move(slot));
  }
  place_gradients();
}

void Optimizer::place_gradients() {
  size_t total = 0;
  for (const Slot& s : slots_) total += static_cast<size_t>((s.parameter->count() + 15) / 16 * 16);  // each begins at a multiple of 64 bytes
  gradients_.place(executor_->memory(), "mean gradients");
  gradients_.resize(total);
  float* at = gradients_.data();
  for (const Shape& shape : shapes_) {
    for (size_t i : shape.slots) {
      slots_[i].gradient = at;
      at += slots_[i].parameter->count();
    }
    at += (16 - (at - gradients_.data()) % 16) % 16;
  }
  for (Slot& s : slots_) {
    if (s.parameter->group() == Group::kMatrix) continue;
    s.gradient = at;
    at += (s.parameter->count() + 15) / 16 * 16;
  }
}

void Optimizer::use(kernels::Executor& executor) {
  executor_ = &executor;
  for (Slot& s : slots_) {
    const char* name = s.parameter->name().c_str();
    s.first.use(executor.memory(), name);
    s.second.use(executor.memory(), name);
    s.worker_sum.use(executor.memory(), name);
  }
  place_gradients();
  averages_.use(executor);
}

void Optimizer::download() {
  for (Slot& s : slots_) {
    s.first.download();
    s.second.download();
  }
  averages_.download();
}

void Optimizer::upload() {
  for (Slot& s : slots_) {
    s.first.upload();
    s.second.upload();
  }
  averages_.upload();
}

std::vector<StateTensor> Optimizer::state() {
  std::vector<StateTensor> tensors;
  for (Slot& s : slots_) {
    const bool matrix = s.parameter->group() == Group::kMatrix;
    tensors.push_back({s.parameter->name() + (matrix ? ".momentum" : ".adam_m"), s.first.host()});
    if (!matrix) tensors.push_back({s.parameter->name() + ".adam_v", s.second.host()});
  }
  for (StateTensor& t : averages_.state()) tensors.push_back(std::move(t));
  return tensors;
}

void Optimizer::mean_gradients(int64_t tokens) {
  for (Slot& s : slots_) executor_->accumulated_mean(s.parameter->gradient(), s.parameter->count(), static_cast<float>(tokens), s.gradient);
}

Status Optimizer::step(int64_t step, double multiplier, int64_t tokens) {
  mean_gradients(tokens);
  if (config_.grad_clip_norm > 0.0) FAIRWAY_TRY(clip());
  return update(step, multiplier);
}

Status Optimizer::take_worker(int64_t tokens) {
  FAIRWAY_CHECK(config_.clip_scope == ClipScope::kWorker && config_.grad_clip_norm > 0.0);
  mean_gradients(tokens);
  // A worker's gradient of a tensor stored in bf16 is in bf16 before and after it is clipped.
  for (Slot& s : slots_) {
    if (s.parameter->bf16()) executor_->round_to_bf16(s.gradient, s.parameter->count());
  }
  FAIRWAY_TRY(clip());
  const double unit = ops::worker_unit(config_.grad_clip_norm);
  for (Slot& s : slots_) {
    executor_->add_worker(s.gradient, parallel_muon(s) || s.parameter->bf16(), unit, s.parameter->count(), s.worker_sum.data());
  }
  return {};
}

Status Optimizer::step_of_workers(int64_t step, double multiplier, int64_t workers) {
  const int32_t exponent = ops::worker_exponent(config_.grad_clip_norm);
  for (Slot& s : slots_) {
    executor_->worker_mean(s.worker_sum.data(), exponent, static_cast<float>(workers), s.parameter->count(), s.gradient);
    s.worker_sum.zero();
  }
  return update(step, multiplier);
}

Status Optimizer::update(int64_t step, double multiplier) {
  FAIRWAY_TRY(executor_->memory() == nullptr ? matrices_one_by_one(step, multiplier) : matrices_by_shape(step, multiplier));
  const auto not_finite = [](const Slot& s) {
    return Error{Errc::kData, s.parameter->name(), "the parameter is not finite after the update; lower its learning rate"};
  };
  for (Slot& s : slots_) {
    if (s.parameter->group() != Group::kMatrix && s.trained) adam(s, step, multiplier);
    if (!executor_->all_finite(s.parameter->data(), s.parameter->count())) return not_finite(s);
    s.parameter->changed();
    FAIRWAY_TRY(model::normalise_vectors(*executor_, *s.parameter));
  }
  if (!executor_->sound()) {
    // A device tells late: whose value it was is asked again, one by one.
    executor_->watch(true);
    for (Slot& s : slots_) {
      if (!executor_->all_finite(s.parameter->data(), s.parameter->count())) return not_finite(s);
    }
    FAIRWAY_CHECK(false);
  }
  averages_.update(multiplier, step + 1);
  return {};
}

Status Optimizer::matrices_one_by_one(int64_t step, double multiplier) {
  // Matrices are independent, and one core per matrix keeps it in that core's cache through all iterations.
  std::vector<Slot*> matrices;
  for (Slot& s : slots_) {
    if (s.parameter->group() == Group::kMatrix) matrices.push_back(&s);
  }
  std::vector<char> whitened(matrices.size());
  kernels::parallel_for(static_cast<int64_t>(matrices.size()), [&](int64_t i) {
    Slot& s = *matrices[static_cast<size_t>(i)];
    muon_momentum(s, step);
    whitened[static_cast<size_t>(i)] = whiten(s.gradient, 1, s.parameter->rows(), s.parameter->columns()) ? 1 : 0;
    if (whitened[static_cast<size_t>(i)] != 0) muon_update(s, multiplier);
  });
  for (size_t i = 0; i < matrices.size(); ++i) {
    if (whitened[i] == 0) return Error{Errc::kData, matrices[i]->parameter->name(), "the momentum is not finite"};
  }
  return {};
}

Status Optimizer::matrices_by_shape(int64_t step, double multiplier) {
  for (Slot& s : slots_) {
    if (s.parameter->group() == Group::kMatrix) muon_momentum(s, step);
  }
  bool ok = true;
  for (const Shape& shape : shapes_) {
    float* first = slots_[shape.slots.front()].gradient;
    ok = whiten(first, static_cast<int64_t>(shape.slots.size()), shape.rows, shape.columns) && ok;
  }
  if (!executor_->sound() || !ok) {
    executor_->watch(true);
    const Slot* culprit = nullptr;
    for (Slot& s : slots_) {
      if (s.parameter->group() != Group::kMatrix || culprit != nullptr) continue;
      if (!executor_->all_finite(s.first.data(), s.parameter->count())) culprit = &s;
    }
    return Error{Errc::kData, culprit != nullptr ? culprit->parameter->name() : slots_[shapes_.front().slots.front()].parameter->name(),
                 "the momentum is not finite"};
  }
  for (Slot& s : slots_) {
    if (s.parameter->group() == Group::kMatrix) muon_update(s, multiplier);
  }
  return {};
}

Status Optimizer::clip() {
  std::vector<std::span<const float>> parts;
  for (const Slot& s : slots_) parts.emplace_back(s.gradient, static_cast<size_t>(s.parameter->count()));
  double square = 0.0;
  if (!executor_->sum_of_squares(parts, square)) {
    executor_->watch(true);
    for (const Slot& s : slots_) {
      if (!executor_->all_finite(s.gradient, s.parameter->count())) return Error{Errc::kData, s.parameter->name(), "the gradient is not finite"};
    }
    FAIRWAY_CHECK(false);
  }
  const double ratio = config_.grad_clip_norm / (num::sqrt(square) + 1e-6);
  if (ratio >= 1.0) return {};
  for (Slot& s : slots_) executor_->scale(s.gradient, static_cast<float>(ratio), s.parameter->count(), s.gradient);
  return {};
}

void Optimizer::adam(Slot& slot, int64_t step, double multiplier) {
  const Group group = slot.parameter->group();
  const double base_lr = group == Group::kEmbedding ? config_.tied_embed_lr
                         : group == Group::kHead    ? config_.head_lr
                         : group == Group::kLora    ? config_.lora_lr
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
  if (group != Group::kHead && group != Group::kLora) s.decay = static_cast<float>(1.0 - lr * config_.adam_wd);
  model::Parameter& p = *slot.parameter;
  executor_->adam(slot.gradient, p.bf16(), s, p.count(), slot.first.data(), slot.second.data(), p.data());
}

bool Optimizer::whiten(float* u, int64_t count, int64_t rows, int64_t columns) const {
  if (config_.whitening == Whitening::kMud) {
    return executor_->mud(u, count, rows, columns, config_.mud_passes, config_.newton_schulz);
  }
  return executor_->newton_schulz(u, count, rows, columns, config_.newton_schulz_steps, config_.newton_schulz);
}

void Optimizer::muon_momentum(Slot& slot, int64_t step) {
  const model::Parameter& p = *slot.parameter;
  const float mu = static_cast<float>(momentum_at(config_.momentum, step));
  executor_->muon_momentum(mu, parallel_muon(slot) || p.bf16(), p.count(), slot.gradient, slot.first.data());
}

void Optimizer::muon_update(Slot& slot, double multiplier) {
  model::Parameter& p = *slot.parameter;
  const double lr = config_.matrix_lr * multiplier;
  const double ratio = static_cast<double>(p.rows()) / static_cast<double>(p.columns());
  const double shape_factor = num::sqrt(ratio > 1.0 ? ratio : 1.0);
  const float decay = static_cast<float>(1.0 - lr * config_.muon_wd);
  const float before = config_.muon_wd_after ? 1.0f : decay, after = config_.muon_wd_after ? decay : 1.0f;
  if (parallel_muon(slot)) {
    executor_->parallel_muon_update(slot.gradient, static_cast<float>(lr * shape_factor), decay, p.count(), p.data());
  } else {
    executor_->muon_update(slot.gradient, static_cast<float>(shape_factor), static_cast<float>(lr), before, after, p.count(), p.data());
  }
  if (p.bf16()) executor_->round_to_bf16(p.data(), p.count());
}

}  // namespace fairway::optim

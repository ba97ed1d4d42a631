#include "engine/eval/procedures/learner.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/model/checked.h"
#include "kernels/accumulate.h"
#include "kernels/num/scalar64.h"
#include "kernels/num/trig.h"

namespace fairway::eval {
namespace {

Error not_finite(const model::Parameter& p) {
  return Error{Errc::kData, p.name(), "is not finite after a step at test time; lower the learning rate in [eval]"};
}

void clear_gradients(model::Gpt& model) {
  for (auto& p : model.parameters()) p->clear_gradient();
  for (auto& p : model.adapters()) p->clear_gradient();
}

/// State of an optimizer, zeros, where the executor computes.
void begin_state(kernels::Mirrored<float>& state, const model::Parameter& p, kernels::Executor& executor) {
  state.resize(static_cast<size_t>(p.count()));
  state.zero();
  state.use(executor.memory(), p.name().c_str());
}

void place_gradient(kernels::Buffer<float>& gradient, const model::Parameter& p, kernels::Executor& executor) {
  gradient.place(executor.memory(), p.name().c_str());
  gradient.resize(static_cast<size_t>(p.count()));
}

/// The first tensor that is not finite, which a device is asked for one by one; `values` gives those of a slot.
template <class Slots, class Values>
Error culprit(kernels::Executor& executor, Slots& slots, const Values& values) {
  executor.watch(true);
  for (auto& s : slots) {
    if (!executor.all_finite(values(s), s.parameter->count())) return not_finite(*s.parameter);
  }
  return model::failure_not_repeated();
}

/// Parameters that train when those of blocks 0 .. freeze_blocks - 1 stay.
std::vector<model::Parameter*> unfrozen(model::Gpt& model, const SgdConfig& config) {
  std::vector<model::Parameter*> list;
  for (auto& p : model.parameters()) {
    bool stays = false;
    for (int64_t b = 0; b < config.freeze_blocks; ++b) stays = stays || p->name().starts_with(fmt::format("blocks.{}.", b));
    if (config.banks && p->group() == model::Group::kMatrix) stays = false;
    if (!stays && p->count() > 0) list.push_back(p.get());
  }
  return list;
}

Status add_chunks(model::Gpt& model, std::span<const TrainingRows> chunks) {
  clear_gradients(model);
  int64_t tokens = 0;
  for (const TrainingRows& c : chunks) tokens += c.rows * c.length;
  for (const TrainingRows& c : chunks) {
    FAIRWAY_CHECK(static_cast<int64_t>(c.tokens.size()) == c.rows * c.length + 1 && c.first_trained < c.length);
    model::Batch batch;
    batch.sequences = c.rows;
    batch.length = c.length;
    batch.inputs = c.tokens.first(c.tokens.size() - 1);
    batch.targets = c.tokens.subspan(1);
    batch.training = true;
    batch.first_trained = c.first_trained;
    batch.term_limit = kernels::term_limit(tokens);
    batch.chunk_term_limit = kernels::term_limit(static_cast<int64_t>(chunks.size()));
    FAIRWAY_TRY(model.tape().forward(batch));
    FAIRWAY_TRY(model.tape().backward());
  }
  return {};
}

}  // namespace

Status accumulate(model::Gpt& model, std::span<const TrainingRows> chunks) {
  return model::checked(model.tape().executor(), [&] { return add_chunks(model, chunks); });
}

std::vector<TrainingRows> cut_rows(std::span<const uint16_t> tokens, int64_t rows, int64_t length, int64_t chunk_tokens) {
  std::vector<TrainingRows> chunks;
  const int64_t per_chunk = std::max<int64_t>(chunk_tokens / length, 1);
  for (int64_t first = 0; first < rows; first += per_chunk) {
    const int64_t count = std::min(per_chunk, rows - first);
    chunks.push_back({tokens.subspan(static_cast<size_t>(first * length), static_cast<size_t>(count * length + 1)), count, length, 0});
  }
  return chunks;
}

Sgd::Sgd(const SgdConfig& config, model::Gpt& model) : config_(config), executor_(model.tape().executor()) {
  for (model::Parameter* p : unfrozen(model, config)) {
    Slot& s = slots_.emplace_back();
    s.parameter = p;
    place_gradient(s.gradient, *p, executor_);
    begin_state(s.momentum, *p, executor_);
  }
}

Status Sgd::step(double lr, int64_t tokens) {
  std::vector<std::span<const float>> parts;
  for (Slot& s : slots_) {
    executor_.accumulated_mean(s.parameter->gradient(), s.parameter->count(), static_cast<float>(tokens), s.gradient.data());
    if (s.parameter->bf16()) executor_.round_to_bf16(s.gradient.data(), s.parameter->count());
    parts.push_back(s.gradient);
  }
  double square = 0.0;
  if (!executor_.sum_of_squares(parts, square)) return culprit(executor_, slots_, [](Slot& s) { return s.gradient.data(); });
  ops::SgdStep step{1.0f, static_cast<float>(lr), static_cast<float>(config_.momentum)};
  if (config_.grad_clip_norm > 0.0) {
    const double ratio = config_.grad_clip_norm / (num::sqrt(square) + 1e-6);
    if (ratio < 1.0) step.factor = static_cast<float>(ratio);
  }
  for (Slot& s : slots_) {
    model::Parameter& p = *s.parameter;
    executor_.sgd(s.gradient.data(), p.bf16(), step, p.count(), s.momentum.data(), p.data());
    if (!executor_.all_finite(p.data(), p.count())) return not_finite(p);
    p.changed();
  }
  if (!executor_.sound()) return culprit(executor_, slots_, [](Slot& s) { return s.parameter->data(); });
  return {};
}

void Sgd::archive(Archive& archive) {
  for (Slot& s : slots_) archive.mirrored(s.momentum);
}

AdapterAdam::AdapterAdam(const LoraConfig& config, model::Gpt& model) : config_(config), executor_(model.tape().executor()) {
  for (auto& p : model.adapters()) {
    Slot& s = slots_.emplace_back();
    s.parameter = p.get();
    place_gradient(s.gradient, *p, executor_);
    begin_state(s.m, *p, executor_);
    begin_state(s.v, *p, executor_);
  }
}

void AdapterAdam::reset() {
  steps_ = 0;
  for (Slot& s : slots_) {
    s.m.zero();
    s.v.zero();
  }
}

Status AdapterAdam::step(int64_t tokens) {
  const uint64_t t = static_cast<uint64_t>(++steps_);
  ops::AdamStep a;
  a.lr = static_cast<float>(config_.lr);
  a.beta1 = static_cast<float>(config_.beta1);
  a.beta2 = static_cast<float>(config_.beta2);
  a.rest1 = static_cast<float>(1.0 - config_.beta1);
  a.rest2 = static_cast<float>(1.0 - config_.beta2);
  a.correction1 = static_cast<float>(1.0 - num::pow_int_64(config_.beta1, t));
  a.correction2 = static_cast<float>(1.0 - num::pow_int_64(config_.beta2, t));
  a.eps = static_cast<float>(config_.eps);
  a.decay = static_cast<float>(1.0 - config_.lr * config_.weight_decay);
  for (Slot& s : slots_) {
    model::Parameter& p = *s.parameter;
    executor_.accumulated_mean(p.gradient(), p.count(), static_cast<float>(tokens), s.gradient.data());
    executor_.adam(s.gradient.data(), false, a, p.count(), s.m.data(), s.v.data(), p.data());
    if (!executor_.all_finite(p.data(), p.count())) return not_finite(p);
    p.changed();
  }
  if (!executor_.sound()) return culprit(executor_, slots_, [](Slot& s) { return s.parameter->data(); });
  return {};
}

void AdapterAdam::archive(Archive& archive) {
  archive.value(steps_);
  for (Slot& s : slots_) archive.mirrored(s.m), archive.mirrored(s.v);
}

double cosine_lr(double lr0, int64_t index, int64_t count) {
  const double part = static_cast<double>(index) / static_cast<double>(std::max<int64_t>(count - 1, 1));
  const float angle = static_cast<float>(0x1.921fb54442d18p+1 * part);
  return lr0 * (0.5 * (1.0 + static_cast<double>(num::sin_cos(angle).cos)));
}

}  // namespace fairway::eval

#include "engine/eval/procedures/learner.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/accumulate.h"
#include "kernels/elementwise.h"
#include "kernels/num/half.h"
#include "kernels/num/scalar64.h"
#include "kernels/num/trig.h"
#include "kernels/ops/adam.h"
#include "kernels/rows.h"

namespace fairway::eval {
namespace {

Error not_finite(const model::Parameter& p) {
  return Error{Errc::kData, p.name(), "is not finite after a step at test time; lower the learning rate in [eval]"};
}

void clear_gradients(model::Gpt& model) {
  for (auto& p : model.parameters()) p->clear_gradient();
  for (auto& p : model.adapters()) p->clear_gradient();
}

}  // namespace

Status accumulate(model::Gpt& model, std::span<const TrainingRows> chunks) {
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

std::vector<TrainingRows> cut_rows(std::span<const uint16_t> tokens, int64_t rows, int64_t length, int64_t chunk_tokens) {
  std::vector<TrainingRows> chunks;
  const int64_t per_chunk = std::max<int64_t>(chunk_tokens / length, 1);
  for (int64_t first = 0; first < rows; first += per_chunk) {
    const int64_t count = std::min(per_chunk, rows - first);
    chunks.push_back({tokens.subspan(static_cast<size_t>(first * length), static_cast<size_t>(count * length + 1)), count, length, 0});
  }
  return chunks;
}

Sgd::Sgd(const SgdConfig& config, std::vector<model::Parameter*> parameters) : config_(config) {
  for (model::Parameter* p : parameters) {
    const size_t count = static_cast<size_t>(p->count());
    slots_.push_back({p, std::vector<float>(count), std::vector<float>(count, 0.0f)});
  }
}

Status Sgd::step(double lr, int64_t tokens) {
  kernels::SumOfSquares squares;
  for (Slot& s : slots_) {
    kernels::accumulated_mean(s.parameter->gradient(), s.parameter->count(), static_cast<float>(tokens), s.gradient.data());
    if (s.parameter->bf16()) kernels::round_to_bf16(s.gradient);
    if (!squares.add(s.gradient)) return not_finite(*s.parameter);
  }
  float factor = 1.0f;
  if (config_.grad_clip_norm > 0.0) {
    const double ratio = config_.grad_clip_norm / (num::sqrt(squares.total()) + 1e-6);
    if (ratio < 1.0) factor = static_cast<float>(ratio);
  }
  const float rate = static_cast<float>(lr), momentum = static_cast<float>(config_.momentum);
  for (Slot& s : slots_) {
    const bool bf16 = s.parameter->bf16();
    auto stored = [bf16](float x) { return bf16 ? num::round_to_bf16(x) : x; };
    float* w = s.parameter->value();
    for (size_t i = 0; i < s.gradient.size(); ++i) {
      const float g = stored(s.gradient[i] * factor);
      s.momentum[i] = stored(stored(momentum * s.momentum[i]) + g);
      w[i] = stored(w[i] - rate * s.momentum[i]);
    }
    if (!kernels::all_finite(s.parameter->values())) return not_finite(*s.parameter);
    s.parameter->changed();
  }
  return {};
}

void Sgd::archive(Archive& archive) {
  for (Slot& s : slots_) archive.vector(s.momentum);
}

AdapterAdam::AdapterAdam(const LoraConfig& config, std::vector<std::unique_ptr<model::Parameter>>& parameters) : config_(config) {
  for (auto& p : parameters) {
    const size_t count = static_cast<size_t>(p->count());
    slots_.push_back({p.get(), std::vector<float>(count, 0.0f), std::vector<float>(count, 0.0f)});
  }
}

void AdapterAdam::reset() {
  steps_ = 0;
  for (Slot& s : slots_) {
    std::fill(s.m.begin(), s.m.end(), 0.0f);
    std::fill(s.v.begin(), s.v.end(), 0.0f);
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
  const float keep = static_cast<float>(1.0 - config_.lr * config_.weight_decay);
  for (Slot& s : slots_) {
    std::vector<float> g(s.m.size());
    kernels::accumulated_mean(s.parameter->gradient(), s.parameter->count(), static_cast<float>(tokens), g.data());
    float* w = s.parameter->value();
    for (size_t i = 0; i < g.size(); ++i) {
      if (config_.weight_decay != 0.0) w[i] = w[i] * keep;
      ops::adam_element(g[i], false, a, s.m[i], s.v[i], w[i]);
    }
    if (!kernels::all_finite(s.parameter->values())) return not_finite(*s.parameter);
    s.parameter->changed();
  }
  return {};
}

void AdapterAdam::archive(Archive& archive) {
  archive.value(steps_);
  for (Slot& s : slots_) archive.vector(s.m), archive.vector(s.v);
}

double cosine_lr(double lr0, int64_t index, int64_t count) {
  const double part = static_cast<double>(index) / static_cast<double>(std::max<int64_t>(count - 1, 1));
  const float angle = static_cast<float>(0x1.921fb54442d18p+1 * part);
  return lr0 * (0.5 * (1.0 + static_cast<double>(num::sin_cos(angle).cos)));
}

std::vector<model::Parameter*> unfrozen(model::Gpt& model, int64_t frozen) {
  std::vector<model::Parameter*> list;
  for (auto& p : model.parameters()) {
    bool stays = false;
    for (int64_t b = 0; b < frozen; ++b) stays = stays || p->name().starts_with(fmt::format("blocks.{}.", b));
    if (!stays && p->count() > 0) list.push_back(p.get());
  }
  return list;
}

}  // namespace fairway::eval

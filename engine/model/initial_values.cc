#include "engine/model/initial_values.h"

#include "engine/base/sha256.h"
#include "engine/model/orthogonal.h"
#include "kernels/cpu/parallel.h"
#include "kernels/elementwise.h"
#include "kernels/num/exp.h"
#include "kernels/num/log.h"
#include "kernels/num/philox.h"

namespace fairway::model {
namespace {

constexpr float kLogLeastStep = -6.9077553f, kLogStepRatio = 4.6051702f;  // log 0.001, log 100

void draw(Parameter& p, uint64_t seed) {
  const uint32_t word = tensor_word(p.name());
  const float factor = p.initial().factor;
  float* v = p.value();
  const int64_t count = p.count();
  auto each = [&](auto&& element) {
    kernels::parallel_ranges(count, 4096, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) v[i] = element(static_cast<uint64_t>(i));
    });
  };
  switch (p.initial().kind) {
    case InitialValue::Kind::kConstant: each([&](uint64_t) { return factor; }); break;
    case InitialValue::Kind::kNormal:
      each([&](uint64_t i) { return num::normal(seed, word, num::kPurposeInit, i) * factor; });
      break;
    case InitialValue::Kind::kUniform: {
      const float bound = 1.0f / num::sqrt(static_cast<float>(p.columns()));
      each([&](uint64_t i) { return (2.0f * num::uniform(seed, word, num::kPurposeInit, i) - 1.0f) * bound; });
      break;
    }
    case InitialValue::Kind::kUniformTaps: {
      const float bound = 1.0f / num::sqrt(static_cast<float>(p.rows()));
      each([&](uint64_t i) { return (2.0f * num::uniform(seed, word, num::kPurposeInit, i) - 1.0f) * bound; });
      break;
    }
    case InitialValue::Kind::kDecayRate:
      each([&](uint64_t i) { return num::log(16.0f * num::uniform(seed, word, num::kPurposeInit, i)); });
      break;
    case InitialValue::Kind::kTimeStep:
      each([&](uint64_t i) {
        const float step = num::exp(kLogLeastStep + num::uniform(seed, word, num::kPurposeInit, i) * kLogStepRatio);
        return step + num::log(1.0f - num::exp(-step));
      });
      break;
    case InitialValue::Kind::kOrthogonal:
      draw_orthogonal(seed, word, p.rows(), p.columns(), v);
      if (factor != 1.0f) kernels::scale(v, factor, count, v);
      break;
    case InitialValue::Kind::kMix:
      each([&](uint64_t i) { return static_cast<int64_t>(i) < p.columns() ? 1.0f : 0.0f; });
      break;
  }
  kernels::round_to_bf16(p.values());
  p.changed();
}

}  // namespace

uint32_t tensor_word(const std::string& name) {
  Digest d = sha256(std::string_view(name));
  return static_cast<uint32_t>(d[0]) << 24 | static_cast<uint32_t>(d[1]) << 16 | static_cast<uint32_t>(d[2]) << 8 | d[3];
}

void draw_initial_values(std::vector<std::unique_ptr<Parameter>>& parameters, uint64_t seed) {
  // Orthogonal draws use one thread each; the others split their elements.
  std::vector<Parameter*> orthogonal;
  for (auto& p : parameters) {
    if (p->initial().kind == InitialValue::Kind::kOrthogonal) {
      orthogonal.push_back(p.get());
    } else {
      draw(*p, seed);
    }
  }
  kernels::parallel_for(static_cast<int64_t>(orthogonal.size()), [&](int64_t i) { draw(*orthogonal[static_cast<size_t>(i)], seed); });
}

}  // namespace fairway::model

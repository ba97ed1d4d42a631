/// What tests of single operations share: inputs with given values on a tape, and gradients that arrive from above.
#pragma once

#include <algorithm>
#include <random>
#include <vector>

#include "engine/model/tape.h"

namespace fairway::test {

using model::Op;
using model::Tape;
using model::ValueId;
using Floats = std::vector<float>;

inline Floats gaussian(int64_t count, uint64_t seed, float scale = 1.0f) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  Floats x(static_cast<size_t>(count));
  for (float& v : x) v = normal(engine);
  return x;
}

/// Puts given values on the tape and keeps the gradient that comes back.
class Source : public Op {
 public:
  Source(ValueId out, Floats values) : Op("source"), gradient(values.size()), out_(out), values_(std::move(values)) {}
  Status forward(Tape& tape) override {
    std::copy(values_.begin(), values_.end(), tape.data(out_));
    return {};
  }
  Status backward(Tape& tape) override {
    std::copy_n(tape.gradient(out_), values_.size(), gradient.begin());
    tape.release_gradient(out_);
    return {};
  }
  Floats gradient;

 private:
  ValueId out_;
  Floats values_;
};

/// Sends given gradients into a value: the loss is their inner product with it.
class Sink : public Op {
 public:
  Sink(ValueId in, Floats gradient) : Op("sink"), in_(in), gradient_(std::move(gradient)) {}
  Status forward(Tape&) override { return {}; }
  Status backward(Tape& tape) override {
    tape.contribute_copy(in_, gradient_.data());
    return {};
  }

 private:
  ValueId in_;
  Floats gradient_;
};

}  // namespace fairway::test

/// y = x + a (u - x), a = |factor * rate| per channel: a step from x towards u, as residuals are taken on the
/// hypersphere (nGPT).
#pragma once

#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

class Interpolate : public Op {
 public:
  /// `row` of the rates, if they are a matrix.
  Interpolate(Parameter& rate, int64_t row, float factor, ValueId x, ValueId u, ValueId out)
      : Op(rate.name()), rate_(rate), row_(row), factor_(factor), x_(x), u_(u), out_(out) {}
  std::vector<Parameter*> trains() const override { return {&rate_}; }
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  Parameter& rate_;
  int64_t row_;
  float factor_;
  ValueId x_, u_, out_;
  kernels::Buffer<float> step_, rest_, slope_, terms_;
};

}  // namespace fairway::model

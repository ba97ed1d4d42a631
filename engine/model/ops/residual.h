/// The three ways values meet in the residual stream: mixing with x0, a scaled branch, and a U-Net skip.
#pragma once

#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

/// u = mix[0] * x + mix[1] * x0 per channel; the parameter is (2, width).
class ResidualMix : public Op {
 public:
  ResidualMix(Parameter& mix, ValueId x, ValueId x0, ValueId out) : Op(mix.name()), mix_(mix), x_(x), x0_(x0), out_(out) {}
  std::vector<Parameter*> trains() const override { return {&mix_}; }
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  Parameter& mix_;
  ValueId x_, x0_, out_;
};

/// y = x + s * a per channel; `row` picks the row of s if it is a matrix (skip weights).
class ScaledAdd : public Op {
 public:
  ScaledAdd(Parameter& scale, int64_t row, ValueId x, ValueId a, ValueId out)
      : Op(scale.name()), scale_(scale), row_(row), x_(x), a_(a), out_(out) {}
  std::vector<Parameter*> trains() const override { return {&scale_}; }
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  Parameter& scale_;
  int64_t row_;
  ValueId x_, a_, out_;
};

}  // namespace fairway::model

/// y = lambda[0] * v0 + lambda[1] * v: a layer's values mixed with those of the first layer.
#pragma once

#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

class ValueResidual : public Op {
 public:
  ValueResidual(Parameter& lambda, ValueId v0, ValueId v, ValueId out) : Op(lambda.name()), lambda_(lambda), v0_(v0), v_(v), out_(out) {}
  std::vector<Parameter*> trains() const override { return {&lambda_}; }
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  Parameter& lambda_;
  ValueId v0_, v_, out_;
  kernels::Buffer<float> terms_;
};

}  // namespace fairway::model

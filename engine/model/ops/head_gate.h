/// y = sigmoid(z + b) * x for every head and token: the attention output gate; z (tokens, heads) comes from a Linear.
#pragma once

#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

class HeadGate : public Op {
 public:
  HeadGate(Parameter& bias, ValueId in, ValueId z, ValueId out) : Op(bias.name()), bias_(bias), in_(in), z_(z), out_(out) {}
  std::vector<Parameter*> trains() const override { return {&bias_}; }
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  Parameter& bias_;
  ValueId in_, z_, out_;
  kernels::Buffer<float> gate_, dz_;
};

}  // namespace fairway::model

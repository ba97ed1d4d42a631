/// Smear gates: every token's vector mixed with that of its predecessor in the sequence; the first has a zero one.
///
///   SmearGate, per channel, s = sigmoid(gate):  y = (1 - s) x + s previous, or with `keeps` y = s x + (1 - s) previous
///   TokenSmearGate, one gate per token from its first 12 channels:  y = x + 0.07 sigmoid(w . x[:12] + b) previous
#pragma once

#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

class SmearGate : public Op {
 public:
  SmearGate(Parameter& gate, bool keeps, ValueId in, ValueId out) : Op(gate.name()), gate_(gate), keeps_(keeps), in_(in), out_(out) {}
  std::vector<Parameter*> trains() const override { return {&gate_}; }
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  Parameter& gate_;
  bool keeps_;
  ValueId in_, out_;
  kernels::Buffer<float> s_, rest_, terms_;
};

class TokenSmearGate : public Op {
 public:
  TokenSmearGate(Parameter& weight, Parameter& bias, ValueId in, ValueId out)
      : Op(weight.name()), weight_(weight), bias_(bias), in_(in), out_(out) {}
  std::vector<Parameter*> trains() const override { return {&weight_, &bias_}; }
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  Parameter &weight_, &bias_;
  ValueId in_, out_;
  kernels::Buffer<float> gate_, dz_, terms_;
};

}  // namespace fairway::model

/// What a gated delta layer keeps and writes, per token and head:
///   decay = exp(-exp(A_log) softplus(a + dt_bias)),  beta = sigmoid(b)
#pragma once

#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

class DeltaGates : public Op {
 public:
  DeltaGates(Parameter& a_log, Parameter& dt_bias, ValueId a, ValueId b, ValueId decay, ValueId beta)
      : Op(dt_bias.name()), a_log_(a_log), dt_bias_(dt_bias), a_(a), b_(b), decay_(decay), beta_(beta) {}
  std::vector<Parameter*> trains() const override { return {&a_log_, &dt_bias_}; }
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  Parameter &a_log_, &dt_bias_;
  ValueId a_, b_, decay_, beta_;
  kernels::Buffer<float> rate_;  ///< exp(A_log)
  kernels::Buffer<float> time_;  ///< softplus(a + dt_bias)
  kernels::Buffer<float> rate_terms_, time_terms_, beta_terms_;
};

}  // namespace fairway::model

/// y = (n w) silu(g): w per channel of a head, n and g (tokens, heads, channels of a head).
#pragma once

#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

class SwishGate : public Op {
 public:
  SwishGate(Parameter& w, ValueId n, ValueId g, ValueId out) : Op(w.name()), w_(w), n_(n), g_(g), out_(out) {}
  std::vector<Parameter*> trains() const override { return {&w_}; }
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  Parameter& w_;
  ValueId n_, g_, out_;
  kernels::Buffer<float> gated_;
};

}  // namespace fairway::model

/// y = silu(sum over the last four tokens of w x) per channel, zeros before the sequence; w (4, width), its last row
/// the token's own.
#pragma once

#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

class ShortConvolution : public Op {
 public:
  ShortConvolution(Parameter& w, ValueId in, ValueId out) : Op(w.name()), w_(w), in_(in), out_(out) {}
  std::vector<Parameter*> trains() const override { return {&w_}; }
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  Parameter& w_;
  ValueId in_, out_;
  kernels::Buffer<float> sums_, sums_gradient_, earlier_;
};

}  // namespace fairway::model

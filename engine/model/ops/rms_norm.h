/// y = x / sqrt(mean(x^2) + 2^-23) over groups of `group` channels: the whole width, or each head.
#pragma once

#include "engine/model/tape.h"

namespace fairway::model {

class RmsNorm : public Op {
 public:
  RmsNorm(std::string label, ValueId in, ValueId out, int64_t group) : Op(std::move(label)), in_(in), out_(out), group_(group) {}
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  ValueId in_, out_;
  int64_t group_;
  kernels::Buffer<float> factor_;
};

}  // namespace fairway::model

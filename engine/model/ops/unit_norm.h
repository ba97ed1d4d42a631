/// y = x / max(|x|, 1e-12) over groups of `group` channels: the whole width, or each head.
#pragma once

#include "engine/model/tape.h"

namespace fairway::model {

class UnitNorm : public Op {
 public:
  UnitNorm(std::string label, int64_t group, ValueId in, ValueId out)
      : Op(std::move(label)), in_(in), out_(out), group_(group) {}
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  ValueId in_, out_;
  int64_t group_;
  kernels::Buffer<float> norm_;
};

}  // namespace fairway::model

/// y = (factor * s) x, s per channel. The factor lets a scale start at a size that suits its learning rate.
#pragma once

#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

class ChannelScale : public Op {
 public:
  ChannelScale(Parameter& s, float factor, ValueId in, ValueId out)
      : Op(s.name()), s_(s), factor_(factor), in_(in), out_(out) {}
  std::vector<Parameter*> trains() const override { return {&s_}; }
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  Parameter& s_;
  float factor_;
  ValueId in_, out_;
  kernels::Buffer<float> scale_, terms_;
};

}  // namespace fairway::model

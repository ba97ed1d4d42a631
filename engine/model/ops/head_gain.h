/// y = gain[head] * x for every head: the query gain, applied after the rotation.
#pragma once

#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

class HeadGain : public Op {
 public:
  HeadGain(Parameter& gain, ValueId in, ValueId out) : Op(gain.name()), gain_(gain), in_(in), out_(out) {}
  std::vector<Parameter*> trains() const override { return {&gain_}; }
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  Parameter& gain_;
  ValueId in_, out_;
  kernels::Buffer<float> products_;
};

}  // namespace fairway::model

/// y = s * x with one fixed s: the 1/sqrt(layer + 1) of the normalised block inputs.
#pragma once

#include "engine/model/tape.h"

namespace fairway::model {

class Scale : public Op {
 public:
  Scale(std::string label, float s, ValueId in, ValueId out) : Op(std::move(label)), s_(s), in_(in), out_(out) {}
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  float s_;
  ValueId in_, out_;
};

}  // namespace fairway::model

/// h = max(a, 0)^2.
#pragma once

#include "engine/model/tape.h"

namespace fairway::model {

class ReluSquared : public Op {
 public:
  ReluSquared(std::string label, ValueId in, ValueId out) : Op(std::move(label)), in_(in), out_(out) {}
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  ValueId in_, out_;
};

}  // namespace fairway::model

/// h = b^2 with b = a > 0 ? a : slope * a.
#pragma once

#include "engine/model/tape.h"

namespace fairway::model {

class LeakyReluSquared : public Op {
 public:
  LeakyReluSquared(std::string label, float slope, ValueId in, ValueId out) : Op(std::move(label)), slope_(slope), in_(in), out_(out) {}
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  float slope_;
  ValueId in_, out_;
};

}  // namespace fairway::model

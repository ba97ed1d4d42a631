/// y = a + b, one binary32 addition per element.
#pragma once

#include "engine/model/tape.h"

namespace fairway::model {

class Sum : public Op {
 public:
  Sum(std::string label, ValueId a, ValueId b, ValueId out) : Op(std::move(label)), a_(a), b_(b), out_(out) {}
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  ValueId a_, b_, out_;
};

}  // namespace fairway::model

/// x[t] = E[ids[t]]. Backward: every token's gradient row is added to the accumulator of its id.
#pragma once

#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

class Embedding : public Op {
 public:
  Embedding(Parameter& table, ValueId out) : Op(table.name()), table_(table), out_(out) {}
  std::vector<Parameter*> trains() const override { return {&table_}; }
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  Parameter& table_;
  ValueId out_;
};

}  // namespace fairway::model

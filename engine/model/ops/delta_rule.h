/// The state of a gated delta layer, one per sequence and head (kernels/delta_rule.h): what is read for q after k and v
/// were written.
#pragma once

#include "engine/model/tape.h"

namespace fairway::model {

class DeltaRule : public Op {
 public:
  struct Inputs {
    ValueId q, k, v;      ///< (tokens, heads, key dim), (…), (tokens, heads, value dim)
    ValueId decay, beta;  ///< (tokens, heads)
  };
  DeltaRule(std::string label, const Inputs& in, ValueId out) : Op(std::move(label)), in_(in), out_(out) {}
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  Inputs in_;
  ValueId out_;
};

}  // namespace fairway::model

/// y_i = W_i x for one input and any number of matrices (q, k and v share theirs). W is (out, in), or (in, out) if it
/// is stored so; no bias.
///
/// Forward contracts over `in`; the input gradient over `out`, summed over the matrices in reverse order; the weight
/// gradient over the tokens of the batch, which is one canonical chunk (NUMERICS.md, N7).
#pragma once

#include <vector>

#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

class Linear : public Op {
 public:
  struct Branch {
    Parameter* weight;
    ValueId out;
  };
  Linear(std::string label, const ModelConfig& config, ValueId in, std::vector<Branch> branches)
      : Op(std::move(label)), config_(config), in_(in), branches_(std::move(branches)) {}
  std::vector<Parameter*> trains() const override;
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  const ModelConfig& config_;
  ValueId in_;
  std::vector<Branch> branches_;
};

}  // namespace fairway::model

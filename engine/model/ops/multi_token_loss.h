/// A head that predicts the token `ahead` positions after the usual target, in training only: its gradient joins that
/// of the hidden state and trains its output matrix: one of its own, or the model's behind a square matrix of its own.
/// It leaves no nll.
///
/// Every sequence's first T - ahead positions are scored; each one's loss enters with the weight  w T / (T - ahead), so
/// that after division by all tokens the head's mean loss counts w times. A sequence with no such position gives
/// nothing.
#pragma once

#include <memory>
#include <vector>

#include "engine/model/ops/linear.h"
#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

class MultiTokenLoss : public Op {
 public:
  MultiTokenLoss(std::string label, const ModelConfig& config, Parameter& head, int64_t ahead, double weight,
                 ValueId in)
      : Op(std::move(label)), config_(config), head_(head), ahead_(ahead), weight_(weight), in_(in) {}
  /// The head sees its input through the matrix `square`, (width, width).
  void put_before(Tape& tape, Parameter& square);
  std::vector<Parameter*> trains() const override;
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  const ModelConfig& config_;
  Parameter& head_;
  int64_t ahead_;
  double weight_;
  ValueId in_;
  std::unique_ptr<Linear> before_;  ///< from the hidden state to in_
  kernels::Buffer<float> hidden_, logits_, nll_, gradient_;
  std::vector<uint16_t> targets_;
  kernels::Buffer<uint16_t> staged_targets_;
};

}  // namespace fairway::model

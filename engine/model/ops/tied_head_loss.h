/// Logits from the tied embedding, softcap, cross entropy: u = h E^T, z = cap tanh(u / cap), nll per token.
///
/// Every token's loss enters with weight 1 (NUMERICS.md, N7). In evaluation only positions from batch.first_scored on get
/// logits, a slice of tokens at a time.
#pragma once

#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

class TiedHeadLoss : public Op {
 public:
  TiedHeadLoss(const ModelConfig& config, Parameter& table, ValueId in)
      : Op("logits"), config_(config), table_(table), in_(in) {}
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;

 private:
  /// Logits and losses of `rows` hidden vectors; with training they become the gradient of the logits.
  Status score(ProductScratch& scratch, const float* hidden, const uint16_t* targets, int64_t rows, bool gradient, float* nll);

  const ModelConfig& config_;
  Parameter& table_;
  ValueId in_;
  kernels::Buffer<float> logits_;
};

}  // namespace fairway::model

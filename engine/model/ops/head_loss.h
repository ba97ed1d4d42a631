/// Logits from the output matrix E (the tied embedding, or a matrix of its own), softcap, cross entropy: u = h E^T, z = cap tanh(u / cap), nll per token.
///
/// Every token's loss enters with weight 1 (NUMERICS.md, N7). In evaluation only positions from batch.first_scored on get
/// logits, a slice of tokens at a time. With a sink the logits go there and no loss is computed.
#pragma once

#include <optional>

#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

class HeadLoss : public Op {
 public:
  /// `extra` (tokens, vocab), if there is one, is added to the logits; then they are multiplied by config.sphere_factor() * `scale`
  /// (vocab), if there is one; then capped.
  HeadLoss(const ModelConfig& config, Parameter& table, ValueId in, std::optional<ValueId> extra = {}, Parameter* scale = nullptr)
      : Op("logits"), config_(config), table_(table), in_(in), extra_(extra), scale_(scale) {}
  std::vector<Parameter*> trains() const override {
    return scale_ == nullptr ? std::vector<Parameter*>{&table_} : std::vector<Parameter*>{&table_, scale_};
  }
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  /// The gradient of `scale`, and of the logits before it in place of that after it.
  Status scale_backward(Tape& tape);
  /// Logits of `rows` tokens from `token` on.
  Status logits(Tape& tape, int64_t token, int64_t rows);
  /// Their losses, or what the batch's sink makes of them; in training the logits become their gradient.
  Status score(Tape& tape, int64_t token, int64_t rows, int64_t first_row);

  const ModelConfig& config_;
  Parameter& table_;
  ValueId in_;
  std::optional<ValueId> extra_;
  Parameter* scale_;
  kernels::Buffer<float> logits_;
  kernels::Buffer<float> host_logits_;  ///< what a sink gets of a device
  kernels::Buffer<float> unscaled_, scales_;  ///< with `scale`: the logits before it (training), and factor * scale
};

}  // namespace fairway::model

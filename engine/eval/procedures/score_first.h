/// Score-first test-time training of the weights (NUMERICS.md, 28.3; PR #549 and #635).
#pragma once

#include "engine/eval/procedures/learner.h"
#include "engine/eval/procedures/procedures.h"

namespace fairway::eval {

/// Chunks of C predictions. A window belongs to the chunk of its first scored position; after the last window of chunk i < K - 1 the
/// weights train on the chunk's whole rows for `epochs` epochs. Dishonest procedures override the order of the two.
class ScoreFirst : public Procedure {
 public:
  ScoreFirst(const EvalConfig& config, model::Gpt& model, WindowPlan plan, int64_t predictions);
  Result<bool> step(Harness& harness) override;
  void archive_state(Archive& archive) override;
  void archive_position(Archive& archive) override { archive.value(window_), archive.value(chunk_), archive.value(trained_); }

 protected:
  /// Trains before a chunk is scored instead of after it.
  void train_first() { train_first_ = true; }
  int64_t chunks() const { return (predictions_ + config_.sgd.chunk_tokens - 1) / config_.sgd.chunk_tokens; }
  void rewind() { window_ = chunk_ = 0, trained_ = false; }
  const EvalConfig& config() const { return config_; }
  model::Gpt& model() { return model_; }
  Sgd& sgd() { return sgd_; }
  Status train_chunk(Harness& harness, int64_t chunk);

 private:
  int64_t chunk_of(int64_t window) const;
  Result<bool> score_next(Harness& harness);

  EvalConfig config_;
  model::Gpt& model_;
  WindowPlan plan_;
  int64_t predictions_, windows_ = 0;
  Sgd sgd_;
  int64_t window_ = 0, chunk_ = 0;
  bool trained_ = false, train_first_ = false;
};

}  // namespace fairway::eval

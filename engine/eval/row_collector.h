/// What becomes of the model's logits while a group of windows is scored.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/sha256.h"
#include "engine/eval/harness.h"

namespace fairway::eval {

/// Rows of logits that a window asks for: its scored positions and those after them.
inline int64_t computed_rows(const Window& w) { return w.length - w.first_scored; }

/// Hashes rows [first, first + rows) of a pass as they come from the model.
class RowHasher : public model::LogitsSink {
 public:
  RowHasher(int64_t first, int64_t rows, int64_t vocab) : first_(first), end_(first + rows), vocab_(vocab) {}
  Status take(int64_t first_row, int64_t rows, float* logits) override;
  Digest digest() { return sha_.finish(); }

 private:
  int64_t first_, end_, vocab_;
  Sha256 sha_;
};

/// Turns logits into nll as they come, row by row: cap and temperature, then the procedure's transform, which sees the
/// tokens before its target and not the target; only then is the target looked up.
class RowCollector : public model::LogitsSink {
 public:
  /// `bits` receives the nll of window w's scored position i at w * scored_count + i, as the bits of a binary32.
  /// `hasher` may be null and sees the logits before anything else. All arguments must outlive the collector.
  RowCollector(std::span<const uint16_t> tokens, const WindowGroup& group, const model::ModelConfig& config,
               const ScoreOptions& options, const RowSink& row_sink, RowHasher* hasher, int64_t* bits)
      : tokens_(tokens),
        group_(group),
        config_(config),
        options_(options),
        row_sink_(row_sink),
        hasher_(hasher),
        bits_(bits) {}
  Status take(int64_t first_row, int64_t rows, float* logits) override;

 private:
  /// Index of the token that a computed row predicts.
  int64_t target(int64_t row) const;

  std::span<const uint16_t> tokens_;
  const WindowGroup& group_;
  const model::ModelConfig& config_;
  const ScoreOptions& options_;
  const RowSink& row_sink_;
  RowHasher* hasher_;
  int64_t* bits_;
  std::vector<uint16_t> targets_;
  std::vector<float> nll_;
};

}  // namespace fairway::eval

/// The validation set: every token of the validation shards, in memory.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"

namespace fairway::data {

class ValidationSet {
 public:
  /// Concatenates the shards in the order given and checks every id.
  ///
  /// `seq_len` is the row length of the evaluation that truncates. With N tokens there are N - 1 predictions, of which
  /// the first floor((N - 1) / seq_len) * seq_len fill whole rows. Not even one row: Error kData.
  static Result<ValidationSet> load(std::span<const std::string> paths, int32_t vocab_size, int64_t seq_len);

  /// Predictions that fill whole rows: a multiple of seq_len, at least seq_len.
  int64_t usable() const { return usable_; }

  /// The usable() + 1 tokens these predictions need; prediction p has input tokens()[p] and target tokens()[p + 1].
  std::span<const uint16_t> tokens() const { return std::span(all_tokens_).first(static_cast<size_t>(usable_) + 1); }

  /// All N tokens, for evaluations that score each document or a ragged tail: N - 1 predictions.
  std::span<const uint16_t> all_tokens() const { return all_tokens_; }

 private:
  ValidationSet(std::vector<uint16_t> tokens, int64_t usable) : all_tokens_(std::move(tokens)), usable_(usable) {}
  std::vector<uint16_t> all_tokens_;
  int64_t usable_;
};

}  // namespace fairway::data

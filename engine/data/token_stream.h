/// The training stream: shards in order, read from front to back, again from the first after the last.
///
/// No shuffling, no alignment to documents, nothing that differs between epochs: the tokens of a step are a function of
/// the shards, the shape of the batch and the step's index, so a resumed run asks for its step and has the same data.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/data/shard.h"

namespace fairway::data {

class TokenStream {
 public:
  /// Errors: those of open_shards.
  static Result<TokenStream> open(std::span<const std::string> paths, int32_t vocab_size);

  /// Tokens before the stream repeats; at least 1.
  int64_t total_tokens() const { return starts_.back(); }

  /// Copies the tokens at `position` .. `position` + out.size() - 1 of the endless stream; `position` >= 0.
  Status read(int64_t position, std::span<uint16_t> out) const;

  /// Copies the next tokens and moves on.
  Status take(std::span<uint16_t> out);

 private:
  explicit TokenStream(std::vector<Shard> shards);
  std::vector<Shard> shards_;
  std::vector<int64_t> starts_;  // (shards + 1): first position of each shard, then the total
  int64_t position_ = 0;
};

/// The batch of one optimizer step.
struct BatchShape {
  int64_t batch_tokens;  ///< targets per step, the G of the formulas
  int64_t seq_len;       ///< tokens per row, L
  int64_t workers = 8;   ///< virtual workers, K: processes times accumulation steps in the original scripts
};

/// The training batches over a stream.
///
/// Step s starts at position s * (G + K). Worker k reads the span of m + 1 tokens, m = G / K, that begins k * (m + 1)
/// later: the first m are its inputs, the last m its targets. The span's last token is only ever a target, and the next
/// span starts after it. Rows of L tokens follow each other inside a worker, workers follow each other in a step; how
/// many machines share the work therefore cannot change the tokens.
class TrainingBatches {
 public:
  /// Error kData, naming train.batch_tokens or train.seq_len, unless all are positive and K * L divides G.
  static Result<TrainingBatches> create(TokenStream stream, const BatchShape& shape);

  const BatchShape& shape() const { return shape_; }
  int64_t rows_per_step() const { return shape_.batch_tokens / shape_.seq_len; }
  int64_t stream_tokens_per_step() const { return shape_.batch_tokens + shape_.workers; }
  int64_t total_tokens() const { return stream_.total_tokens(); }

  /// Any step >= 0, in any order.
  ///   inputs, targets  (G/L, L), row-major, rows in worker order; targets[i][j] follows inputs[i][j] in the stream
  /// A token outside the vocabulary is an Error kData that names file and offset.
  Status fill_step(int64_t step, std::span<uint16_t> inputs, std::span<uint16_t> targets) const;

 private:
  TrainingBatches(TokenStream stream, const BatchShape& shape) : stream_(std::move(stream)), shape_(shape) {}
  TokenStream stream_;
  BatchShape shape_;
};

}  // namespace fairway::data

#include "engine/data/token_stream.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/check.h"

namespace fairway::data {

TokenStream::TokenStream(std::vector<Shard> shards) : shards_(std::move(shards)) {
  starts_.reserve(shards_.size() + 1);
  starts_.push_back(0);
  for (const Shard& shard : shards_) starts_.push_back(starts_.back() + shard.token_count());
}

Result<TokenStream> TokenStream::open(std::span<const std::string> paths, int32_t vocab_size) {
  FAIRWAY_ASSIGN(std::vector<Shard> shards, open_shards(paths, vocab_size));
  return TokenStream(std::move(shards));
}

Status TokenStream::read(int64_t position, std::span<uint16_t> out) const {
  FAIRWAY_CHECK(position >= 0);
  position %= total_tokens();
  // The last shard that starts at or before the position; empty shards share their start with the next and are passed.
  auto index = static_cast<size_t>(std::upper_bound(starts_.begin(), starts_.end(), position) - starts_.begin()) - 1;
  int64_t first = position - starts_[index];
  while (!out.empty()) {
    const auto available = static_cast<size_t>(shards_[index].token_count() - first);
    const std::span<uint16_t> part = out.first(std::min(available, out.size()));
    FAIRWAY_TRY(shards_[index].read(first, part));
    out = out.subspan(part.size());
    index = (index + 1) % shards_.size();
    first = 0;
  }
  return {};
}

Status TokenStream::take(std::span<uint16_t> out) {
  FAIRWAY_TRY(read(position_, out));
  position_ = (position_ + static_cast<int64_t>(out.size())) % total_tokens();
  return {};
}

Result<TrainingBatches> TrainingBatches::create(TokenStream stream, const BatchShape& shape) {
  FAIRWAY_CHECK(shape.workers > 0);
  // Far above any real batch, and far below where the products of these numbers would overflow.
  constexpr int64_t kLimit = int64_t{1} << 40;
  if (shape.seq_len <= 0 || shape.seq_len > kLimit / shape.workers) {
    return Error{Errc::kData, "train.seq_len", fmt::format("is {}; give a positive number of tokens", shape.seq_len)};
  }
  const int64_t unit = shape.workers * shape.seq_len;
  if (shape.batch_tokens <= 0 || shape.batch_tokens > kLimit || shape.batch_tokens % unit != 0) {
    return Error{Errc::kData, "train.batch_tokens",
                 fmt::format("is {}; it must be a positive multiple of {} ({} workers times train.seq_len = {})",
                             shape.batch_tokens, unit, shape.workers, shape.seq_len)};
  }
  return TrainingBatches(std::move(stream), shape);
}

Status TrainingBatches::fill_step(int64_t step, std::span<uint16_t> inputs, std::span<uint16_t> targets) const {
  const auto batch_tokens = static_cast<size_t>(shape_.batch_tokens);
  FAIRWAY_CHECK(step >= 0 && inputs.size() == batch_tokens && targets.size() == batch_tokens);
  // The product may pass 2^63 for steps far beyond the first epoch; its remainder never does.
  const int64_t total = stream_.total_tokens();
  const auto start = static_cast<int64_t>(static_cast<__int128>(step) * stream_tokens_per_step() % total);
  const size_t worker_tokens = batch_tokens / static_cast<size_t>(shape_.workers);
  std::vector<uint16_t> span(worker_tokens + 1);
  for (size_t worker = 0; worker < static_cast<size_t>(shape_.workers); ++worker) {
    FAIRWAY_TRY(stream_.read(start + static_cast<int64_t>(worker * span.size()), span));
    std::copy(span.begin(), span.end() - 1, inputs.begin() + static_cast<std::ptrdiff_t>(worker * worker_tokens));
    std::copy(span.begin() + 1, span.end(), targets.begin() + static_cast<std::ptrdiff_t>(worker * worker_tokens));
  }
  return {};
}

}  // namespace fairway::data

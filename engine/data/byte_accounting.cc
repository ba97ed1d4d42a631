#include "engine/data/byte_accounting.h"

#include <algorithm>
#include <string_view>

#include "engine/base/check.h"

namespace fairway::data {
namespace {

constexpr std::string_view kSpaceMarker = "\xe2\x96\x81";  // U+2581

double exact_double(uint64_t count) {
  FAIRWAY_CHECK(count > 0 && count <= (uint64_t{1} << 53));
  return static_cast<double>(count);
}

double bytes_per_token(const ScoredCounts& counts) { return exact_double(counts.bytes) / exact_double(counts.tokens); }

}  // namespace

ByteAccounting::ByteAccounting(const Tokenizer& tokenizer, int32_t vocab_size) {
  const auto size = static_cast<size_t>(std::max(tokenizer.vocab_size(), vocab_size));
  base_.assign(size, 0);
  lead_.assign(size, 0);
  boundary_.assign(size, 1);
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const Tokenizer::PieceType type = tokenizer.piece_type(id);
    if (type == Tokenizer::PieceType::kBoundary) continue;
    const auto i = static_cast<size_t>(id);
    boundary_[i] = 0;
    if (type == Tokenizer::PieceType::kByte) {
      base_[i] = 1;
      continue;
    }
    const std::string_view piece = tokenizer.piece(id);
    lead_[i] = piece.starts_with(kSpaceMarker) ? 1 : 0;
    base_[i] = static_cast<uint32_t>(piece.size() - (lead_[i] != 0 ? kSpaceMarker.size() : 0));
  }
}

uint64_t ByteAccounting::total_bytes(std::span<const uint16_t> tokens, size_t first, size_t count) const {
  if (count == 0) return 0;
  FAIRWAY_CHECK(first < tokens.size() && count < tokens.size() - first);
  const std::span<const uint16_t> used = tokens.subspan(first, count + 1);
  FAIRWAY_CHECK(*std::max_element(used.begin(), used.end()) < size());
  uint64_t total = 0;
  for (size_t i = 0; i < count; ++i) total += bytes(used[i], used[i + 1]);
  return total;
}

double bits_per_byte(double total_nll_nats, uint64_t bytes) { return total_nll_nats / (kLn2 * exact_double(bytes)); }

double nats_per_byte_from_bpb(double bpb) { return bpb * kLn2; }

double bpb_from_nats_per_byte(double nats_per_byte) { return nats_per_byte / kLn2; }

double nats_per_token_from_bpb(double bpb, const ScoredCounts& counts) {
  return nats_per_byte_from_bpb(bpb) * bytes_per_token(counts);
}

double bpb_from_nats_per_token(double nats_per_token, const ScoredCounts& counts) {
  return bpb_from_nats_per_byte(nats_per_token / bytes_per_token(counts));
}

}  // namespace fairway::data

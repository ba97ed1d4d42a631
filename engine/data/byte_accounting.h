/// How many bytes of text a prediction covers, and the conversions between nats and bits per byte.
///
/// Bytes are those of the tokenizer's *normalised* text. Over one document, [BOS] + encode(text), they add up to the
/// length of the decoded text.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/data/tokenizer.h"

namespace fairway::data {

/// The three look-up tables of the challenge, per token id.
///
///   boundary  true for control, unknown and unused pieces and for ids the tokenizer does not have
///   lead      true for a normal piece that starts with the space marker U+2581
///   base      bytes without that marker: 0 for a boundary, 1 for a byte piece, else the rest's UTF-8 length
class ByteAccounting {
 public:
  /// Tables for ids 0 .. max(tokenizer.vocab_size(), vocab_size) - 1.
  ByteAccounting(const Tokenizer& tokenizer, int32_t vocab_size);

  /// Bytes of predicting `target` after `previous`: base[target], and one for the space if target leads with it and
  /// previous is no boundary. Always the true previous token of the stream, wherever the model's window starts.
  uint32_t bytes(uint16_t previous, uint16_t target) const {
    return base_[target] + (lead_[target] != 0 && boundary_[previous] == 0 ? 1u : 0u);
  }

  /// Sum of bytes over predictions first .. first + count - 1; prediction p has previous tokens[p], target
  /// tokens[p + 1]. Needs first + count < tokens.size() (or count = 0) and every id inside the tables.
  uint64_t total_bytes(std::span<const uint16_t> tokens, size_t first, size_t count) const;

  size_t size() const { return base_.size(); }
  bool boundary(uint16_t id) const { return boundary_[id] != 0; }
  bool lead(uint16_t id) const { return lead_[id] != 0; }
  uint32_t base(uint16_t id) const { return base_[id]; }

 private:
  std::vector<uint32_t> base_;
  std::vector<uint8_t> lead_;
  std::vector<uint8_t> boundary_;
};

/// ln 2 rounded to binary64.
constexpr double kLn2 = 0x1.62e42fefa39efp-1;

/// Bits per byte: fl(total_nll_nats / fl(kLn2 * bytes)), every operation one rounding of binary64.
/// 0 < bytes <= 2^53, so that the conversion to binary64 is exact.
double bits_per_byte(double total_nll_nats, uint64_t bytes);

/// The scored positions of one evaluation. Both counts in 1 .. 2^53.
struct ScoredCounts {
  uint64_t tokens;
  uint64_t bytes;
};

/// A loss, or a difference of losses, in the three units that authors mix. Operations in the order written.
///   nats per byte  = bpb * ln 2
///   nats per token = (bpb * ln 2) * (bytes / tokens)
double nats_per_byte_from_bpb(double bpb);
double bpb_from_nats_per_byte(double nats_per_byte);
double nats_per_token_from_bpb(double bpb, const ScoredCounts& counts);
double bpb_from_nats_per_token(double nats_per_token, const ScoredCounts& counts);

}  // namespace fairway::data

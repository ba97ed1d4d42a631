/// What counts towards the size limit of a submission, and how much of it is used.
#pragma once

#include <cstdint>

namespace fairway::quant {

/// The challenge's limit: decimal, inclusive.
constexpr uint64_t kArtifactLimitBytes = 16'000'000;

/// code_bytes: what the submission adds to the program (for a foreign record its training script; for one of ours the
/// caller decides and says so). model_bytes: the compressed model file. The tokenizer does not count.
struct ArtifactSize {
  uint64_t code_bytes = 0;
  uint64_t model_bytes = 0;

  uint64_t total_bytes() const {
    uint64_t total = 0;
    // A sum that does not fit is certainly over the limit; claims read from a file may be any number.
    return __builtin_add_overflow(code_bytes, model_bytes, &total) ? UINT64_MAX : total;
  }
  bool within_limit() const { return total_bytes() <= kArtifactLimitBytes; }
  bool operator==(const ArtifactSize&) const = default;
};

}  // namespace fairway::quant

/// Units of scores and margins. "0.005 nats" alone means nothing: per token it is .00296 bpb on the 1,024-piece
/// tokenizer, per byte .00721.
///
///   bits per byte = nats per byte / ln 2 = nats per token / (ln 2 x bytes per token)
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/result.h"

namespace fairway::stats {

enum class Unit { kBpb, kNatsPerToken, kNatsPerByte };

/// "nats-per-token", "nats-per-byte" or "bpb". Error kUsage naming --unit.
Result<Unit> parse_unit(const std::string& name);
/// "nats/token", as reports print it.
const char* unit_name(Unit unit);

/// A value of `unit` in bits per byte.
double to_bpb(double value, Unit unit, double bytes_per_token);
/// The inverse.
double from_bpb(double bpb, Unit unit, double bytes_per_token);

/// A tokenizer on a validation split, and how many bytes of text one scored token stands for.
struct Split {
  const char* name;        ///< "sp1024"
  double bytes_per_token;  ///< bytes / scored tokens
  const char* about;
};

/// The challenge's tokenizers on the full validation split. sp1024 is exact (151,080,363 bytes / 62,021,632
/// predictions); the others are the ratio of losses and scores printed with eight decimals, good to the digits given.
std::span<const Split> splits();
/// Error kUsage listing the names.
Result<Split> find_split(std::string_view name);

}  // namespace fairway::stats

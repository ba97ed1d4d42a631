/// What the challenge's validation split is known to measure: its text in bytes, and in tokens for each published
/// tokenizer.
///
/// Derived from logs with eight decimals: every tokenizer gives the same bytes within 0.02 %.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "verifier/audit/facts.h"

namespace fairway::audit {

/// The first 50,000 documents as exported since March 2026, and the export before it.
inline constexpr std::array<double, 2> kValidationTextBytes = {151'080'363, 155'769'700};

struct KnownSplit {
  const char* tokenizer;
  int64_t tokens;
};

/// Counts after cutting to a multiple of the sequence length; other lengths and re-exports give some thousands more or
/// fewer.
inline constexpr std::array<KnownSplit, 5> kKnownSplits = {{{"sp1024", 62'021'632},
                                                            {"sp4096", 45'508'608},
                                                            {"sp8192", 40'540'160},
                                                            {"sp8192 CaseOps", 47'851'520},
                                                            {"sp1024, first export", 63'779'840}}};

struct ValidationSplit {
  const KnownSplit* known;
};

/// The whole split of a published tokenizer, if the run's number of validation tokens is its.
std::optional<ValidationSplit> split_of(const LoggedRun& run);

}  // namespace fairway::audit

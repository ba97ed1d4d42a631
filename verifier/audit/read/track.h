/// Which limits a folder is held to.
#pragma once

#include "verifier/audit/facts.h"

namespace fairway::audit {

inline constexpr int64_t kArtifactLimitBytes = 16'000'000;  ///< code and compressed model, decimal bytes
inline constexpr double kTimeLimitMs = 600'000;             ///< training, and separately evaluation
inline constexpr int64_t kRecordGpus = 8;

enum class Track {
  kRecord,     ///< the 10-minute track: every limit holds
  kNonRecord,  ///< says so, in its path, its JSON or its README: the size limit holds, times and proof of a record do
               ///< not
  kUnknown     ///< says nothing: a limit crossed is a question
};

Track track_of(const Facts& facts);

}  // namespace fairway::audit

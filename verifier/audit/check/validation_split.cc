#include "verifier/audit/check/validation_split.h"

#include <cmath>
#include <cstdlib>

namespace fairway::audit {

std::optional<ValidationSplit> split_of(const LoggedRun& run) {
  if (!run.val_tokens) return std::nullopt;
  for (const KnownSplit& k : kKnownSplits) {
    // Sequence lengths up to 32,768 are cut off; the whole stream is a few hundred tokens longer.
    if (std::llabs(run.val_tokens->value - k.tokens) <= 32'768) return ValidationSplit{&k, true};
  }
  return std::nullopt;
}

}  // namespace fairway::audit

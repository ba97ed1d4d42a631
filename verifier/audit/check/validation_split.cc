#include "verifier/audit/check/validation_split.h"

#include <cstdlib>

namespace fairway::audit {

std::optional<ValidationSplit> split_of(const LoggedRun& run) {
  if (!run.val_tokens) return std::nullopt;
  for (const KnownSplit& k : kKnownSplits) {
    if (std::llabs(run.val_tokens->value - k.tokens) <= 16'384) return ValidationSplit{&k};
  }
  return std::nullopt;
}

}  // namespace fairway::audit

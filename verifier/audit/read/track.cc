#include "verifier/audit/read/track.h"

#include "verifier/audit/read/text.h"

namespace fairway::audit {
namespace {

bool says_non_record(std::string_view text) {
  for (const char* word : {"non-record", "non_record", "nonrecord", "non record", "unlimited", "notable"}) {
    if (contains_lower(text, word)) return true;
  }
  return false;
}

}  // namespace

Track track_of(const Facts& facts) {
  const std::string_view title = std::string_view(facts.readme).substr(0, facts.readme.find('\n'));
  if (says_non_record(facts.folder) || says_non_record(facts.claims.track) || says_non_record(facts.claims.name) ||
      says_non_record(title)) {
    return Track::kNonRecord;
  }
  if (contains_lower(facts.folder, "10min") || contains_lower(facts.claims.track, "10min")) return Track::kRecord;
  return Track::kUnknown;
}

}  // namespace fairway::audit

/// stats.significance: the seeds of a record against a baseline that the user names.
#include "verifier/stats/significance.h"

#include "verifier/audit/check/checks.h"
#include "verifier/audit/check/seed_scores.h"

namespace fairway::audit {

using verifier::Check;
using verifier::Verdict;

void check_significance(const Facts& facts, const ClaimMatch& match, const std::optional<stats::Sample>& baseline,
                        verifier::Report& report) {
  if (!baseline) {
    report.add("stats.significance", Verdict::kSkip,
               "no baseline was given (--baseline), so nothing says what the score must beat");
    return;
  }
  const auto scores = seed_scores(facts, match);
  if (!scores) {
    report.add("stats.significance", Verdict::kReview,
               "neither the logs nor submission.json show two scores of one kind: on what does the improvement rest?");
    return;
  }
  Check check =
      stats::significance({scores->sample, scores->source}, scores->bytes_per_token, {*baseline, "the baseline"});
  for (const Place& p : scores->places) {
    if (check.evidence.size() < 8) check.evidence.push_back({p.file, p.line, 0});
  }
  report.add(std::move(check));
}

}  // namespace fairway::audit

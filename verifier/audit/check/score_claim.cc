#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "verifier/audit/check/checks.h"

namespace fairway::audit {

using verifier::Check;
using verifier::Verdict;

namespace {

/// Runs that were brought to their final score.
size_t finished_runs(const Facts& facts) {
  return static_cast<size_t>(std::count_if(facts.runs.begin(), facts.runs.end(), [](const LoggedRun& r) {
    return std::any_of(r.scores.begin(), r.scores.end(), [](const ScoreLine& s) { return s.val_bpb && !s.diagnostic; });
  }));
}

}  // namespace

void check_score_claim(const Facts& facts, const ClaimMatch& match, verifier::Report& report) {
  Check check{"score.claim", Verdict::kPass, "", "", "", {}};
  const auto& claim = facts.claims.val_bpb;
  const size_t finished = finished_runs(facts);
  if (!claim) {
    check.status = Verdict::kSkip;
    check.message = facts.claims.present ? "submission.json claims no score" : "no submission.json, no claim";
    report.add(std::move(check));
    return;
  }
  check.claimed = fmt::format("{}", claim->value);
  check.evidence.push_back({claim->place.file, claim->place.line, 0});
  for (const Place& p : match.places) check.evidence.push_back({p.file, p.line, 0});
  if (match.kind != ClaimMatch::Kind::kNone) check.measured = fmt::format("{:.8g}", match.mean);
  switch (match.kind) {
    case ClaimMatch::Kind::kMean:
    case ClaimMatch::Kind::kSeedsMean:
      check.message =
          match.kind == ClaimMatch::Kind::kSeedsMean
              ? fmt::format("the mean of its scores per seed; {} of {} seeds have a log, which agrees (\"{}\")",
                            match.runs.size(), facts.claims.seed_bpb.size(), match.tag)
          : match.runs.size() == 1 ? fmt::format("the value \"{}\" of the one run that prints it", match.tag)
                                   : fmt::format("the mean of \"{}\" over {} runs", match.tag, match.runs.size());
      if (match.diagnostic) {
        check.status = Verdict::kReview;
        check.message += "; that is an intermediate value: is it the score of the artifact as submitted?";
      }
      break;
    case ClaimMatch::Kind::kBest:
      check.status = Verdict::kReview;
      check.message = fmt::format("the best of {} runs of \"{}\", whose mean is {:.6f}: should the mean be claimed?",
                                  match.runs.size(), match.tag, match.mean);
      break;
    case ClaimMatch::Kind::kOther:
      check.status = Verdict::kReview;
      check.message = fmt::format(
          "one printed value of \"{}\", neither the mean nor the best of its runs (mean {:.6f}): which run is "
          "submitted?",
          match.tag, match.mean);
      break;
    case ClaimMatch::Kind::kNone: {
      if (match.nearest > 0) check.measured = fmt::format("{:.8g}", match.nearest);
      if (finished == 0) {
        check.status = facts.log_files.empty() ? Verdict::kSkip : Verdict::kReview;
        check.message = facts.log_files.empty() ? "no log to compare with"
                                                : "no log prints a final score: where was the claimed one measured?";
        break;
      }
      // Shown to be false only if nothing is missing: every seed claimed has a finished log, none prints the number in
      // any form, and the claim is better than what they print.
      const bool complete = finished >= std::max<size_t>({facts.claims.seeds.size(), facts.claims.seed_bpb.size(), 1});
      const bool apart = match.nearest - claim->value > 5e-4;
      if (complete && apart && !facts.claim_in_logs) {
        check.status = Verdict::kFail;
        check.message = fmt::format(
            "no value and no mean in the logs of {} finished runs is the claimed score; the nearest mean is {:.6f}",
            finished, match.nearest);
        for (const LoggedRun& r : facts.runs) {
          const auto last = std::find_if(r.scores.rbegin(), r.scores.rend(),
                                         [](const ScoreLine& s) { return s.val_bpb && !s.diagnostic; });
          if (last != r.scores.rend()) check.evidence.push_back({last->place.file, last->place.line, 0});
        }
      } else {
        check.status = Verdict::kReview;
        check.message = fmt::format(
            "no printed value and no mean equals it (nearest mean {:.6f}): how was it computed?", match.nearest);
        if (facts.claim_in_logs) {
          check.message += " The number itself stands in a log.";
          check.evidence.push_back({facts.claim_in_logs->file, facts.claim_in_logs->line, 0});
        }
      }
    }
  }
  report.add(std::move(check));
}

}  // namespace fairway::audit

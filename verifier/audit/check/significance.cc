/// stats.significance: the seeds of a record against a baseline that the user names.
#include <fmt/format.h>

#include "verifier/audit/check/checks.h"
#include "verifier/audit/check/seed_scores.h"
#include "verifier/stats/comparison.h"

namespace fairway::audit {

using verifier::Check;
using verifier::Verdict;

void check_significance(const Facts& facts, const ClaimMatch& match, const std::optional<stats::Sample>& baseline,
                        verifier::Report& report) {
  Check check{"stats.significance", Verdict::kSkip, "", "", "", {}};
  const auto scores = seed_scores(facts, match);
  auto done = [&](Verdict status, std::string message) {
    check.status = status;
    check.message = std::move(message);
    report.add(std::move(check));
  };
  if (!baseline)
    return done(Verdict::kSkip, "no baseline was given (--baseline), so nothing says what the score must beat");
  if (!scores)
    return done(Verdict::kReview,
                "neither the logs nor submission.json show two scores of one kind: on what does the improvement rest?");
  for (const Place& p : scores->places) {
    if (check.evidence.size() < 8) check.evidence.push_back({p.file, p.line, 0});
  }
  const bool scaled = scores->bytes_per_token > 0.0;
  const stats::Scale scale{scaled ? scores->bytes_per_token : 1.0, "the record's losses and scores"};
  const auto compared =
      stats::compare(scores->sample, *baseline, scale,
                     scaled ? std::vector{stats::kRuleMargin} : std::vector<stats::Margin>{}, stats::kRuleAlpha);
  if (!compared) return done(Verdict::kReview, fmt::format("no test is possible: {}", compared.error().what));
  const stats::Test& plain = compared->tests.front().test;
  check.claimed = fmt::format("{:.8f}", baseline->mean);
  check.measured = fmt::format("{:.8f}", scores->sample.mean);
  std::string message = fmt::format(
      "{} seeds ({}) are {:.5f} bpb {} than the baseline; {}, one-sided: p = {} with no margin", scores->sample.count,
      scores->source, std::abs(plain.difference), plain.difference >= 0 ? "lower" : "higher",
      plain.welch ? "Welch" : "one-sample t-test against a constant", stats::print_p(plain.p));
  if (!scaled)
    return done(Verdict::kReview,
                message + "; no loss beside a score says how many nats per token that is: is the margin of .005 met?");
  const stats::MarginTest& rule = compared->tests.back();
  message += fmt::format(", p = {} with {} {} ({:.6f} bpb)", stats::print_p(rule.test.p), rule.margin.value,
                         stats::unit_name(rule.margin.unit), rule.margin_bpb);
  if (rule.test.significant) return done(Verdict::kPass, message);
  done(Verdict::kReview,
       message +
           "; the margin is not shown at p < .01: is the record exempt, or the frontier's looser practice applied?");
}

}  // namespace fairway::audit

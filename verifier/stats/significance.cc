#include "verifier/stats/significance.h"

#include <fmt/format.h>

#include <cmath>

namespace fairway::stats {

using verifier::Check;
using verifier::Verdict;

verifier::Check significance(const NamedSample& candidate, double bytes_per_token, const NamedSample& baseline) {
  Check check{"stats.significance", Verdict::kReview, "", "", "", {}};
  const bool scaled = bytes_per_token > 0.0;
  const auto compared = compare(candidate.sample, baseline.sample, {scaled ? bytes_per_token : 1.0, ""},
                                scaled ? std::vector{kRuleMargin} : std::vector<Margin>{}, kRuleAlpha);
  if (!compared) {
    check.message = fmt::format("no test against {} is possible: {}", baseline.source, compared.error().what);
    return check;
  }
  const Test& plain = compared->tests.front().test;
  check.claimed = fmt::format("{:.8f}", baseline.sample.mean);
  check.measured = fmt::format("{:.8f}", candidate.sample.mean);
  // The ledger keeps the beginning of a message: the result comes first.
  const MarginTest& rule = compared->tests.back();
  if (scaled)
    check.message = fmt::format("p = {} with {} {} ({:.6f} bpb), ", print_p(rule.test.p), rule.margin.value,
                                unit_name(rule.margin.unit), rule.margin_bpb);
  check.message += fmt::format("p = {} with no margin; {}, one-sided; {} seeds are {:.5f} bpb {} than {} ({})",
                               print_p(plain.p), plain.welch ? "Welch" : "one-sample t-test against a constant",
                               candidate.sample.count, std::abs(plain.difference),
                               plain.difference >= 0 ? "lower" : "higher", baseline.source, candidate.source);
  if (!scaled) {
    check.message += "; no loss beside a score says how many nats per token that is: is the margin of .005 met?";
  } else if (rule.test.significant) {
    check.status = Verdict::kPass;
  } else {
    check.message +=
        "; the margin is not shown at p < .01: is the record exempt, or the frontier's looser practice applied?";
  }
  return check;
}

}  // namespace fairway::stats

/// The check stats.significance: are the seeds of a submission lower than a baseline by more than chance?
#pragma once

#include <string>

#include "verifier/report/report.h"
#include "verifier/stats/comparison.h"

namespace fairway::stats {

/// Scores, and in words where they are from: "final_int6_sliding_window_exact in the logs", "entry 3 of LOG".
struct NamedSample {
  Sample sample;
  std::string source;
};

/// Welch's test, one-sided, with no margin and with kRuleMargin; claimed is the baseline's mean, measured the
/// candidate's.
///
/// pass: p < kRuleAlpha with the margin. Everything else is review, never fail: exemptions and the leaderboard's looser
/// practice are a person's to judge. So are fewer than two scores or no variance, when there is no test, and a
/// `bytes_per_token` of 0 (not known), when nobody can say what .005 nats per token are.
verifier::Check significance(const NamedSample& candidate, double bytes_per_token, const NamedSample& baseline);

}  // namespace fairway::stats

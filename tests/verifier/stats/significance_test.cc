#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "verifier/audit/check/checks.h"
#include "verifier/audit/check/seed_scores.h"

namespace fairway::audit {
namespace {

constexpr double kBytesPerToken = 2.4359;

void add_run(Facts& facts, int64_t seed, double bpb, const std::string& tag = "final") {
  LoggedRun run;
  run.file = "train_seed" + std::to_string(seed) + ".log";
  run.seed = Fact<int64_t>{seed, {run.file, 1}};
  ScoreLine line;
  line.tag = tag;
  line.val_bpb = bpb;
  line.val_loss = bpb * std::numbers::ln2 * kBytesPerToken;
  line.bpb_decimals = line.loss_decimals = 8;
  line.place = {run.file, 9};
  run.scores = {line};
  facts.runs.push_back(run);
}

Facts record(double first, double second, double third) {
  Facts facts;
  add_run(facts, 1, first);
  add_run(facts, 2, second);
  add_run(facts, 3, third);
  facts.claims.val_bpb = Fact<double>{(first + second + third) / 3, {"submission.json", 2}};
  return facts;
}

ClaimMatch match_of(const Facts& facts) {
  ClaimMatch match;
  match.kind = ClaimMatch::Kind::kMean;
  match.tag = "final";
  for (size_t r = 0; r < facts.runs.size(); ++r) match.runs.push_back(r);
  return match;
}

verifier::Check judge(const Facts& facts, const std::optional<stats::Sample>& baseline) {
  verifier::Report report;
  check_significance(facts, match_of(facts), baseline, report);
  return report.checks.at(0);
}

TEST(SeedScores, AreTheReportedTagOfTheLogs) {
  const auto scores = seed_scores(record(1.10, 1.11, 1.12), match_of(record(1.10, 1.11, 1.12)));
  ASSERT_TRUE(scores);
  EXPECT_EQ(scores->sample.values, (std::vector<double>{1.10, 1.11, 1.12}));
  EXPECT_EQ(scores->sample.names[1], "seed 2");
  EXPECT_EQ(scores->places[2].file, "train_seed3.log");
  EXPECT_NEAR(scores->bytes_per_token, kBytesPerToken, 1e-12);
  EXPECT_EQ(scores->sample.half_unit, 0.5e-8);
}

TEST(SeedScores, ACopyOfALogIsNoFurtherRun) {
  Facts facts = record(1.10, 1.11, 1.12);
  add_run(facts, 3, 1.12);
  EXPECT_EQ(seed_scores(facts, match_of(facts))->sample.count, 3);
  add_run(facts, 3, 1.13);  // the same seed again, with another result
  EXPECT_EQ(seed_scores(facts, match_of(facts))->sample.count, 4);
}

TEST(SeedScores, ComeFromTheJsonIfThatHasMore) {
  Facts facts = record(1.10, 1.11, 1.12);
  facts.claims.file = "submission.json";
  facts.claims.seed_bpb = {{"1", 1.10}, {"2", 1.11}, {"3", 1.12}};
  EXPECT_NE(seed_scores(facts, match_of(facts))->source.find("logs"), std::string::npos);
  facts.claims.seed_bpb["4"] = 1.1301;
  const auto scores = seed_scores(facts, match_of(facts));
  EXPECT_EQ(scores->sample.count, 4);
  EXPECT_DOUBLE_EQ(scores->sample.half_unit, 0.5e-4);
}

TEST(SeedScores, AMeanWithItsDeviationIsBetterThanNothing) {
  Facts facts;
  facts.claims.val_bpb = Fact<double>{1.1, {"submission.json", 2}};
  facts.claims.seeds = {"1", "2", "3"};
  EXPECT_FALSE(seed_scores(facts, ClaimMatch{}));
  facts.claims.scalars["/val_bpb_std"] = {"-1", {"submission.json", 3}};  // "unknown"
  EXPECT_FALSE(seed_scores(facts, ClaimMatch{}));
  facts.claims.scalars["/val_bpb_std"] = {"0.0005", {"submission.json", 3}};
  const auto scores = seed_scores(facts, ClaimMatch{});
  ASSERT_TRUE(scores);
  EXPECT_EQ(scores->sample.count, 3);
  EXPECT_EQ(scores->sample.sd, 0.0005);
  EXPECT_EQ(scores->bytes_per_token, 0.0);
}

TEST(Significance, WithoutABaselineIsSkippedAndSaysWhatIsMissing) {
  const auto check = judge(record(1.10, 1.1001, 1.1002), std::nullopt);
  EXPECT_EQ(check.status, verifier::Verdict::kSkip);
  EXPECT_NE(check.message.find("--baseline"), std::string::npos);
}

TEST(Significance, PassesOnlyIfTheMarginIsShown) {
  const stats::Sample far = *stats::sample_of({1.15, 1.1501, 1.1502}, "b"),
                      near = *stats::sample_of({1.1020, 1.1021, 1.1022}, "b");
  const auto better = judge(record(1.10, 1.1001, 1.1002), far);
  EXPECT_EQ(better.status, verifier::Verdict::kPass) << better.message;
  EXPECT_EQ(better.evidence.size(), 3u);
  EXPECT_EQ(better.measured, "1.10010000");
  // .002 bpb is significant without a margin, but less than .005 nats per token (.00296 bpb).
  const auto small = judge(record(1.10, 1.1001, 1.1002), near);
  EXPECT_EQ(small.status, verifier::Verdict::kReview) << small.message;
  for (const char* part : {"Welch", "no margin", "0.005 nats/token", "0.00296"})
    EXPECT_NE(small.message.find(part), std::string::npos) << small.message;
  const auto worse = judge(record(1.16, 1.1601, 1.1602), far);
  EXPECT_EQ(worse.status, verifier::Verdict::kReview);
  EXPECT_NE(worse.message.find("higher"), std::string::npos);
}

TEST(Significance, IsNeverAPassWhereNothingWasTested) {
  const stats::Sample baseline = *stats::sample_of({1.2, 1.2001}, "b"), constant = *stats::sample_of({1.2}, "b");
  EXPECT_EQ(judge(Facts{}, baseline).status, verifier::Verdict::kReview);
  EXPECT_EQ(judge(record(1.1, 1.1, 1.1), constant).status, verifier::Verdict::kReview);  // no variance
  Facts no_loss = record(1.10, 1.1001, 1.1002);
  for (LoggedRun& run : no_loss.runs) run.scores[0].val_loss.reset();
  EXPECT_EQ(judge(no_loss, baseline).status, verifier::Verdict::kReview);  // how many nats per token is that?
}

}  // namespace
}  // namespace fairway::audit

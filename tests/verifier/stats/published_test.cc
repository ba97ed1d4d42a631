/// Statistics that were published for the challenge, each with the inputs and the convention that give its digits.
///
/// A row holds what the source prints; the tolerance is half a unit of its last digit. Where a published figure is not
/// that of its own data, the row says what was used instead.
#include <gtest/gtest.h>

#include <cmath>

#include "verifier/stats/comparison.h"

namespace fairway::stats {
namespace {

Sample seeds(std::vector<double> values) { return *sample_of(std::move(values), "test"); }
Sample constant(double value) { return seeds({value}); }

const double kSp1024 = find_split("sp1024")->bytes_per_token;
const double kNatsPerToken = to_bpb(0.005, Unit::kNatsPerToken, kSp1024);
const double kNatsPerByte = to_bpb(0.005, Unit::kNatsPerByte, kSp1024);

const std::vector<double> kPr212 = {1.17031614, 1.17075317, 1.17124182, 1.17320677, 1.17670448};
const std::vector<double> kPr66v1 = {1.18335372, 1.18437368, 1.18481782};
const std::vector<double> kPr66v2 = {1.16614760, 1.16531758, 1.16412094};
const std::vector<double> kPr66v3 = {1.16356083, 1.16275343, 1.16337225};
const std::vector<double> kPr549 = {1.11922988, 1.12002032, 1.11888882};
const std::vector<double> kPr414 = {1.12278022, 1.12360306, 1.12356596};
const std::vector<double> kPr1019 = {1.11508120, 1.11437394, 1.11475014};

struct Row {
  const char* what;
  Sample candidate, baseline;
  double margin;     // bpb
  double t, t_unit;  // as printed, and one unit of its last digit
};

const std::vector<Row>& rows() {
  static const std::vector<Row> kRows = {
      // #212 prints t = 44.2 and calls it .005 nats better; that is the baseline's score with no margin at all.
      {"#212 as printed, no margin", seeds(kPr212), constant(1.22436570), 0.0, 44.2, 0.1},
      {"#212 against 1.22436570", seeds(kPr212), constant(1.22436570), 0.0, 44.226, 0.001},
      {"#212 against the rounded 1.2244", seeds(kPr212), constant(1.2244), 0.0, 44.255, 0.001},
      {"#212 rounded seeds, 1.2244", seeds({1.1703, 1.1708, 1.1712, 1.1732, 1.1767}), constant(1.2244), 0.0, 44.286,
       0.001},
      {"#212 rounded seeds, 1.22436570", seeds({1.1703, 1.1708, 1.1712, 1.1732, 1.1767}), constant(1.22436570), 0.0,
       44.257, 0.001},
      {"#212, .005 bpb", seeds(kPr212), constant(1.2244), 0.005, 40.00, 0.01},
      {"#212, .005 nats/token", seeds(kPr212), constant(1.2244), kNatsPerToken, 41.73, 0.01},
      {"#212, .005 nats/byte", seeds(kPr212), constant(1.2244), kNatsPerByte, 38.11, 0.01},
      {"#212 against its control", seeds(kPr212), constant(1.1929), 0.0, 17.42, 0.01},
      {"#212 against the best of the time", seeds(kPr212), constant(1.1748), 0.0, 2.006, 0.001},
      // #66 subtracts .005 from 1.2244 and calls it nats: it is bpb.
      {"#66 v1 as printed, .005 bpb", seeds(kPr66v1), constant(1.2244), 0.005, 81.26, 0.01},
      {"#66 v1, .005 nats/token", seeds(kPr66v1), constant(1.2244), kNatsPerToken, 85.96, 0.01},
      {"#66 v1, no margin", seeds(kPr66v1), constant(1.2244), 0.0, 92.80, 0.01},
      {"#66 v2 as printed, .005 bpb", seeds(kPr66v2), constant(1.2244), 0.005, 92.15, 0.01},
      {"#66 v2, .005 nats/token rounded to .00296 bpb", seeds(kPr66v2), constant(1.2244), 0.00296, 95.62, 0.01},
      {"#66 v2, .005 nats/byte", seeds(kPr66v2), constant(1.2244), kNatsPerByte, 88.39, 0.01},
      {"#66 v2, no margin", seeds(kPr66v2), constant(1.2244), 0.0, 100.65, 0.01},
      {"#66 v3 as printed, .005 bpb", seeds(kPr66v3), constant(1.2244), 0.005, 230.34, 0.01},
      {"#66 v3, .005 nats/token rounded to .00296 bpb", seeds(kPr66v3), constant(1.2244), 0.00296, 238.71, 0.01},
      {"#66 v3, .005 nats/byte", seeds(kPr66v3), constant(1.2244), kNatsPerByte, 221.27, 0.01},
      {"#66 v3, no margin", seeds(kPr66v3), constant(1.2244), 0.0, 250.85, 0.01},
      {"#49 as printed, .005 bpb", seeds({1.20576485, 1.20617460, 1.20715923}), constant(1.2243657), 0.005, 31.42,
       0.01},
      // #52 prints 9.06, which its seeds do not give, nor their sd rounded to .00187 alone; gap .00978 and sd .00187
      // together do.
      {"#52 from its seeds, .005 bpb", seeds({1.20143417, 1.19945102, 1.20319508}), constant(1.21613611), 0.005, 9.040,
       0.001},
      {"#52 with the rounded sd", *sample_of_summary(1.20136009, 0.00187, 3, "test"), constant(1.21613611), 0.005,
       9.055, 0.001},
      {"#52 as printed, gap and sd rounded", *sample_of_summary(1.21613611 - 0.005 - 0.00978, 0.00187, 3, "test"),
       constant(1.21613611), 0.005, 9.06, 0.01},
      {"the LoRA record against 1.195", seeds({1.1927, 1.1935, 1.1921, 1.1929}), constant(1.195), 0.0, 7.621, 0.001},
      {"#1019 against #549 as printed", seeds(kPr1019), seeds(kPr549), 0.0, 11.83, 0.01},
      {"#1019 against #549", seeds(kPr1019), seeds(kPr549), 0.0, 11.8339, 0.0001},
      {"#1019 against #549, .005 nats/token", seeds(kPr1019), seeds(kPr549), kNatsPerToken, 4.289, 0.001},
      {"#549 against #414", seeds(kPr549), seeds(kPr414), 0.0, 9.17, 0.01},
      {"#549 against #414, .005 nats/token", seeds(kPr549), seeds(kPr414), kNatsPerToken, 2.27, 0.01},
      {"#1967 against #1855 as printed", *sample_of_summary(1.05851479, 0.000762, 3, "test"),
       *sample_of_summary(1.06075500, 0.000933, 6, "test"), 0.0, 3.850, 0.001},
  };
  return kRows;
}

TEST(PublishedStatistics, ReproduceToTheirPrintedDigits) {
  for (const Row& r : rows()) {
    SCOPED_TRACE(r.what);
    auto result = test(r.candidate, r.baseline, r.margin, 0.01);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_NEAR(result->t, r.t, r.t_unit / 2 + 1e-12);
  }
}

struct PRow {
  const char* what;
  Sample candidate, baseline;
  double margin, p, p_unit, df, df_unit;
};

TEST(PublishedStatistics, PValuesAndDegreesOfFreedomReproduce) {
  const PRow kRows[] = {
      {"#212", seeds(kPr212), constant(1.22436570), 0.0, 7.8e-7, 1e-8, 4, 1e-9},
      {"#212 against the best of the time", seeds(kPr212), constant(1.1748), 0.0, 0.058, 0.001, 4, 1e-9},
      {"#66 v3", seeds(kPr66v3), constant(1.2244), 0.005, 9.4e-6, 1e-7, 2, 1e-9},
      {"#49", seeds({1.20576485, 1.20617460, 1.20715923}), constant(1.2243657), 0.005, 0.00051, 0.00001, 2, 1e-9},
      {"#52", seeds({1.20143417, 1.19945102, 1.20319508}), constant(1.21613611), 0.005, 0.006, 0.001, 2, 1e-9},
      {"the LoRA record", seeds({1.1927, 1.1935, 1.1921, 1.1929}), constant(1.195), 0.0, 0.00234486, 1e-8, 3, 1e-9},
      {"#1019 against #549, .005 nats/token", seeds(kPr1019), seeds(kPr549), kNatsPerToken, 0.00955, 1e-5, 3.31, 0.01},
      {"#1019 against #549 (its p is not printed, only that it is below .01)", seeds(kPr1019), seeds(kPr549), 0.0, 0.0,
       0.01, 3.306, 0.001},
      {"#549 against #414", seeds(kPr549), seeds(kPr414), 0.0, 0.0005, 0.0001, 3.82, 0.01},
      {"#549 against #414, .005 nats/token", seeds(kPr549), seeds(kPr414), kNatsPerToken, 0.044, 0.001, 3.82, 0.01},
      {"#1967 against #1855", *sample_of_summary(1.05851479, 0.000762, 3, "test"),
       *sample_of_summary(1.06075500, 0.000933, 6, "test"), 0.0, 0.0060, 0.0001, 5.00, 0.01},
  };
  for (const PRow& r : kRows) {
    SCOPED_TRACE(r.what);
    auto result = test(r.candidate, r.baseline, r.margin, 0.01);
    ASSERT_TRUE(result);
    EXPECT_NEAR(result->p, r.p, r.p_unit / 2 * 1.0001);
    EXPECT_NEAR(result->df, r.df, r.df_unit / 2);
  }
}

TEST(PublishedStatistics, MeansAndDeviationsReproduce) {
  EXPECT_NEAR(seeds(kPr212).mean, 1.17244448, 5e-9);
  EXPECT_NEAR(seeds(kPr212).sd, 0.00262514, 5e-9);
  EXPECT_NEAR(seeds({1.1703, 1.1708, 1.1712, 1.1732, 1.1767}).sd, 0.00262,
              5e-6);  // its README's .00262498 is of other digits
  EXPECT_NEAR(seeds(kPr66v2).sd, 0.00101884, 5e-9);
  EXPECT_NEAR(seeds(kPr66v3).sd, 0.00042237, 5e-9);
  EXPECT_NEAR(seeds(kPr549).sd, 0.00058043, 5e-9);
  EXPECT_NEAR(seeds(kPr414).sd, 0.00046473, 5e-9);
  EXPECT_NEAR(seeds({1.1927, 1.1935, 1.1921, 1.1929}).sd, 0.00057735, 5e-9);
  EXPECT_NEAR(seeds({1.1927, 1.1935, 1.1921, 1.1929}).sd * std::sqrt(3.0 / 4.0), 0.0005,
              5e-9);  // the record prints the population's
}

TEST(PublishedStatistics, TheGapOf212IsInNatsPerByte) {
  const double gap = 1.22440 - seeds(kPr212).mean;
  EXPECT_NEAR(from_bpb(gap, Unit::kNatsPerByte, kSp1024), 0.0360, 5e-5);
  EXPECT_NEAR(from_bpb(gap, Unit::kNatsPerToken, kSp1024), 0.0877, 5e-5);
}

TEST(PublishedStatistics, TheCriticalValueQuotedEverywhere) {
  EXPECT_NEAR(test(seeds(kPr549), constant(1.2), 0.0, 0.01)->critical, 6.965, 5e-4);
}

TEST(PublishedStatistics, RoundingExplains44_2And9_06) {
  Sample rounded = seeds({1.1703, 1.1708, 1.1712, 1.1732, 1.1767}), baseline = constant(1.2244);
  rounded.half_unit = baseline.half_unit = 5e-5;
  const auto range = rounding_range(rounded, baseline, 0.0);
  ASSERT_TRUE(range);
  EXPECT_LT(range->low, 44.226);
  EXPECT_GT(range->high, 44.257);
  Sample published = *sample_of_summary(1.20136, 0.00187, 3, "test");
  published.half_unit = published.sd_half_unit = 5e-6;
  const auto about = rounding_range(published, constant(1.21613611), 0.005);
  ASSERT_TRUE(about);
  EXPECT_LT(about->low, 9.040);
  EXPECT_GT(about->high, 9.06);
}

TEST(Units, AreThoseOfTheSpecification) {
  EXPECT_NEAR(from_bpb(1.0, Unit::kNatsPerToken, kSp1024), 1.688458, 5e-7);
  EXPECT_NEAR(from_bpb(1.0, Unit::kNatsPerToken, find_split("sp1024-first")->bytes_per_token), 1.692876, 5e-7);
  EXPECT_NEAR(kNatsPerToken, 0.00296, 5e-6);
  EXPECT_NEAR(kNatsPerByte, 0.00721, 5e-6);
  const struct {
    const char* split;
    double tokens_per_byte;
  } kRatios[] = {{"sp1024", 0.4105}, {"sp4096", 0.3012}, {"sp8192", 0.2683}, {"sp8192-caseops", 0.3167}};
  for (const auto& r : kRatios)
    EXPECT_NEAR(1.0 / find_split(r.split)->bytes_per_token, r.tokens_per_byte, 5e-5) << r.split;
}

}  // namespace
}  // namespace fairway::stats

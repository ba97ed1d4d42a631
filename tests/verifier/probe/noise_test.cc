/// False alarms stay within the stated rate, for Gaussian and heavy-tailed noise; a small leak is found all the same.
#include "verifier/probe/noise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace fairway::verifier {
namespace {

constexpr int64_t kPredictions = 2000;
constexpr double kRate = 0.01;

/// Largest k with P(Binomial(n, p) > k) >= 0.01: more alarms than that, and the rate is not p at 99 % confidence.
int64_t binomial_bound(int64_t n, double p) {
  double term = std::exp(static_cast<double>(n) * std::log1p(-p)), below = term;
  int64_t k = 0;
  while (below < 0.99) {
    term *= static_cast<double>(n - k) / static_cast<double>(k + 1) * p / (1.0 - p);
    below += term;
    ++k;
  }
  return k;
}

template <class Noise>
int64_t alarms(int64_t sessions, Noise noise, uint64_t seed) {
  std::mt19937_64 engine(seed);
  int64_t count = 0;
  for (int64_t s = 0; s < sessions; ++s) {
    std::vector<Scores> runs(4, Scores(kPredictions));
    for (Scores& run : runs) {
      for (size_t p = 0; p < run.size(); ++p) run[p] = static_cast<float>(3.0 + 0.001 * static_cast<double>(p % 97) + noise(engine));
    }
    const std::span<const Scores> repeated(runs.data(), 3);
    const NoiseFloor floor(repeated);
    count += first_alarm(floor, runs[3], kPredictions, kRate) >= 0 ? 1 : 0;
  }
  return count;
}

TEST(NoiseFloor, AThousandHonestSessionsRaiseNoMoreAlarmsThanTheRateAllows) {
  const int64_t bound = binomial_bound(1000, kRate);
  std::normal_distribution<double> normal(0.0, 1e-4);
  EXPECT_LE(alarms(1000, [&](auto& e) { return normal(e); }, 1), bound) << "Gaussian";
  std::student_t_distribution<double> t3(3.0), t15(1.5);
  EXPECT_LE(alarms(1000, [&](auto& e) { return 1e-4 * t3(e); }, 2), bound) << "Student t, 3 degrees of freedom";
  EXPECT_LE(alarms(1000, [&](auto& e) { return 1e-4 * t15(e); }, 3), bound) << "Student t, 1.5 degrees of freedom";
  std::uniform_real_distribution<double> uniform(0.0, 1.0);
  EXPECT_LE(alarms(1000, [&](auto& e) { return uniform(e) < 1e-3 ? 1e-2 * normal(e) : normal(e); }, 4), bound) << "rare outliers";
}

TEST(NoiseFloor, ALeakOfAHundredthOfANatOnOnePositionInAThousandIsFound) {
  std::mt19937_64 engine(7);
  std::normal_distribution<double> normal(0.0, 1e-4);
  for (int session = 0; session < 100; ++session) {
    std::vector<Scores> runs(4, Scores(kPredictions));
    for (Scores& run : runs) {
      for (float& x : run) x = static_cast<float>(3.0 + normal(engine));
    }
    for (int64_t p = 500; p < kPredictions; p += 1000) runs[3][static_cast<size_t>(p)] -= 0.01f;
    const std::span<const Scores> repeated(runs.data(), 3);
    const NoiseFloor floor(repeated);
    EXPECT_EQ(first_alarm(floor, runs[3], kPredictions, kRate) % 1000, 500);
  }
}

TEST(NoiseFloor, RunsThatAgreeBitForBitMakeAnyDifferenceAnAlarm) {
  std::vector<Scores> runs(3, Scores(100, 2.5f));
  const NoiseFloor floor(runs);
  Scores changed = runs[0];
  EXPECT_EQ(first_alarm(floor, changed, 100, kRate), -1);
  changed[40] = std::nextafter(2.5f, 3.0f);
  EXPECT_EQ(first_alarm(floor, changed, 100, kRate), 40);
  EXPECT_EQ(first_alarm(floor, changed, 40, kRate), -1) << "only what lies before the cut counts";
}

}  // namespace
}  // namespace fairway::verifier

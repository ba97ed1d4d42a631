#include "verifier/stats/t_test.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>

#include "verifier/stats/comparison.h"

namespace fairway::stats {
namespace {

Sample seeds(std::vector<double> values) { return *sample_of(std::move(values), "test"); }

/// P(T >= t) in closed form for one, two and three degrees of freedom.
double tail(int df, double t) {
  switch (df) {
    case 1:
      return 0.5 - std::atan(t) / std::numbers::pi;
    case 2:
      return 0.5 - t / (2.0 * std::sqrt(2.0 + t * t));
    default:
      return 0.5 - (std::atan(t / std::sqrt(3.0)) + t * std::sqrt(3.0) / (t * t + 3.0)) / std::numbers::pi;
  }
}

rc::Gen<double> score() {
  return rc::gen::map(rc::gen::inRange(90000000, 130000000), [](int x) { return x * 1e-8; });
}

RC_GTEST_PROP(OneSample, PIsTheClosedForm, ()) {
  const int n = *rc::gen::inRange(2, 5);
  const auto values = *rc::gen::container<std::vector<double>>(static_cast<size_t>(n), score());
  const double mu = *score();
  auto result = test(seeds(values), seeds({mu}), 0.0, 0.01);
  RC_PRE(static_cast<bool>(result));
  RC_ASSERT(result->df == n - 1);
  RC_ASSERT(std::abs(result->p - tail(n - 1, result->t)) <= 1e-12);
  RC_ASSERT(result->significant == (result->t > result->critical));
}

RC_GTEST_PROP(Welch, EqualSamplesGiveTheClassicalStudentTest, ()) {
  const auto a = *rc::gen::container<std::vector<double>>(2, score());
  const double shift = *rc::gen::inRange(-1000, 1000) * 1e-5;
  RC_PRE(a[0] != a[1]);
  const Sample first = seeds(a), second = seeds({a[0] + shift, a[1] + shift});
  auto result = test(first, second, 0.0, 0.01);
  RC_ASSERT(static_cast<bool>(result) && result->welch);
  RC_ASSERT(std::abs(result->df - 2.0) < 1e-6);  // equal variances and sizes: n + m - 2
  RC_ASSERT(std::abs(result->t - shift / first.sd) <= 1e-5 * (1.0 + std::abs(result->t)));
}

RC_GTEST_PROP(AnyTest, AMarginIsALowerBaseline, ()) {
  const auto a = *rc::gen::container<std::vector<double>>(3, score()),
             b = *rc::gen::container<std::vector<double>>(3, score());
  const double margin = *rc::gen::inRange(0, 1000) * 1e-5;
  auto with = test(seeds(a), seeds(b), margin, 0.01),
       lowered = test(seeds(a), seeds({b[0] - margin, b[1] - margin, b[2] - margin}), 0.0, 0.01);
  RC_PRE(static_cast<bool>(with) && static_cast<bool>(lowered));
  RC_ASSERT(std::abs(with->t - lowered->t) <= 1e-6 * (1.0 + std::abs(with->t)));
  RC_ASSERT(with->p >= test(seeds(a), seeds(b), 0.0, 0.01)->p);
}

TEST(LeaveOneOut, RepeatsTheTestWithoutEachValue) {
  const std::vector<double> a = {1.11, 1.12, 1.14}, b = {1.15, 1.17, 1.16, 1.18};
  const auto left = leave_one_out(seeds(a), seeds(b), 0.001, 0.01);
  ASSERT_EQ(left.size(), 7u);
  EXPECT_EQ(left[1].test->t, test(seeds({1.11, 1.14}), seeds(b), 0.001, 0.01)->t);
  EXPECT_TRUE(left[5].from_baseline);
  EXPECT_EQ(left[5].test->p, test(seeds(a), seeds({1.15, 1.17, 1.18}), 0.001, 0.01)->p);
  EXPECT_TRUE(leave_one_out(seeds({1.1, 1.2}), seeds({1.3}), 0.0, 0.01).empty());
  EXPECT_FALSE(leave_one_out(seeds({1.1, 1.1, 1.2}), seeds({1.3}), 0.0, 0.01)[2].test.has_value());
}

RC_GTEST_PROP(Rounding, TheTrueValueLiesInTheRange, ()) {
  // Four decimals of eight, with a spread well above the rounding, which is what first order needs.
  const auto exact = *rc::gen::container<std::vector<double>>(3, score());
  const double mu = *score();
  Sample rounded =
      seeds({std::round(exact[0] * 1e4) * 1e-4, std::round(exact[1] * 1e4) * 1e-4, std::round(exact[2] * 1e4) * 1e-4});
  RC_PRE(rounded.sd > 0.01);
  rounded.half_unit = 5e-5;
  const auto range = rounding_range(rounded, seeds({mu}), 0.0);
  const double t = test(seeds(exact), seeds({mu}), 0.0, 0.01)->t;
  RC_ASSERT(range.has_value());
  const double slack = 1e-3 * (range->high - range->low) + 1e-6;  // second order
  RC_ASSERT(range->low - slack <= t && t <= range->high + slack);
}

TEST(Rounding, ExactInputsHaveNoRange) {
  EXPECT_FALSE(rounding_range(seeds({1.1, 1.2}), seeds({1.3}), 0.0).has_value());
}

void expect_error(const Result<Sample>& s, const char* part) {
  ASSERT_FALSE(s);
  EXPECT_EQ(s.error().exit_code(), 65);
  EXPECT_NE(s.error().message().find(part), std::string::npos) << s.error().message();
}

TEST(BadInput, IsNamed) {
  expect_error(sample_of({}, "x"), "no scores");
  expect_error(sample_of({1.1, std::numeric_limits<double>::quiet_NaN()}, "x"), "nan");
  expect_error(sample_of({std::numeric_limits<double>::infinity()}, "x"), "inf");
  expect_error(sample_of({-1.0}, "x"), "-1");
  expect_error(sample_of_summary(1.1, -0.1, 3, "x"), "-0.1");
  expect_error(sample_of_summary(1.1, 0.1, 1, "x"), "at least 2");
  auto one = test(seeds({1.1}), seeds({1.2}), 0.0, 0.01);
  ASSERT_FALSE(one);
  EXPECT_NE(one.error().message().find("two seeds"), std::string::npos);
  auto same = test(seeds({1.1, 1.1, 1.1}), seeds({1.2}), 0.0, 0.01);  // 3.3 / 3 is not 1.1: the mean rounds
  ASSERT_FALSE(same);
  EXPECT_NE(same.error().message().find("no variance"), std::string::npos);
  EXPECT_TRUE(test(seeds({1.1, 1.1}), seeds({1.2, 1.3}), 0.0, 0.01)) << "one sample with variance is enough for Welch";
  EXPECT_FALSE(parse_unit("nats"));
  EXPECT_FALSE(find_split("sp999"));
}

TEST(PrintedP, HasFourSignificantDigits) {
  EXPECT_EQ(print_p(7.8141234e-7), "7.814e-07");
  EXPECT_EQ(print_p(0.00234486), "0.002345");
  EXPECT_EQ(print_p(0.5), "0.5000");
}

}  // namespace
}  // namespace fairway::stats

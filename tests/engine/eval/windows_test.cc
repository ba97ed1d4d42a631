#include "engine/eval/windows.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <vector>

namespace fairway::eval {
namespace {

constexpr int64_t kPublished = 62'021'632;  // predictions of the published validation set

WindowPlan plan_of(Method method, int64_t length, int64_t stride, int64_t predictions) {
  auto plan = WindowPlan::create({method, length, stride}, predictions);
  EXPECT_TRUE(plan) << plan.error().message();
  return *plan;
}

/// How often each prediction is scored, walking over every window.
std::vector<int> times_scored(const WindowPlan& plan, int64_t predictions) {
  std::vector<int> times(static_cast<size_t>(predictions));
  for (int64_t i = 0; i < plan.count(); ++i) {
    const Window w = plan.window(i);
    for (int64_t j = 0; j < w.scored_count; ++j) ++times.at(static_cast<size_t>(w.start + w.first_scored + j));
  }
  return times;
}

TEST(PublishedCounts, StandardScoresEveryPredictionOnce) {
  const WindowPlan p = plan_of(Method::kStandard, 1024, 1024, kPublished);
  EXPECT_EQ(p.count(), 60'568);
  EXPECT_EQ(p.scored(), kPublished);
}

TEST(PublishedCounts, SlidingA) {
  const WindowPlan p = plan_of(Method::kSlidingA, 1024, 64, kPublished);
  EXPECT_EQ(p.count(), 969'073);
  EXPECT_EQ(p.scored(), 62'020'672);
  EXPECT_EQ(p.window(0), (Window{0, 1024, 960, 64}));
  EXPECT_EQ(p.window(969'072), (Window{62'020'608, 1024, 960, 64}));
}

TEST(PublishedCounts, SlidingB) {
  const WindowPlan p = plan_of(Method::kSlidingB, 1024, 64, kPublished);
  EXPECT_EQ(p.scored(), kPublished);
  EXPECT_EQ(p.window(0), (Window{0, 1024, 0, 1024}));
  EXPECT_EQ(p.window(1), (Window{64, 1024, 960, 64}));
}

TEST(PublishedCounts, SlidingC) {
  const WindowPlan p = plan_of(Method::kSlidingC, 2048, 64, kPublished);
  EXPECT_EQ(p.scored(), 62'023'616);
  EXPECT_EQ(p.count(), kPublished / 64);
  // The last 64 predictions are scored 32 times in all, with ever less context.
  EXPECT_EQ(p.window(p.count() - 1), (Window{kPublished - 64, 64, 0, 64}));
  EXPECT_EQ(p.window(p.count() - 2), (Window{kPublished - 128, 128, 64, 64}));
  EXPECT_EQ(p.window(p.count() - 32), (Window{kPublished - 2048, 2048, 1984, 64}));
}

TEST(PublishedCounts, SlidingD) {
  const WindowPlan p = plan_of(Method::kSlidingD, 2048, 64, kPublished);
  EXPECT_EQ(p.scored(), 62'019'648);
  EXPECT_EQ(p.window(0), (Window{0, 2048, 0, 64}));
  EXPECT_EQ(p.window(1), (Window{64, 2048, 1984, 64}));
}

struct Shape {
  int64_t length, stride, predictions;
};

Shape any_shape(bool full_window) {
  const int64_t length = *rc::gen::inRange<int64_t>(1, 40);
  const int64_t stride = *rc::gen::inRange<int64_t>(1, length + 1);
  const int64_t predictions = *rc::gen::inRange<int64_t>(full_window ? length : 1, 400);
  return {length, stride, predictions};
}

/// Every window lies inside the stream, is at most L long, and the plan's total is the sum of its windows.
void check_plan(const WindowPlan& plan, const Shape& s) {
  int64_t scored = 0;
  for (int64_t i = 0; i < plan.count(); ++i) {
    const Window w = plan.window(i);
    RC_ASSERT(w.start >= 0 && w.length >= 1 && w.length <= s.length && w.start + w.length <= s.predictions);
    RC_ASSERT(w.first_scored >= 0 && w.scored_count >= 1 && w.first_scored + w.scored_count <= w.length);
    scored += w.scored_count;
  }
  RC_ASSERT(plan.scored() == scored);
}

RC_GTEST_PROP(Standard, ScoresEveryPredictionOnceInOrder, ()) {
  const int64_t length = *rc::gen::inRange<int64_t>(1, 40), rows = *rc::gen::inRange<int64_t>(1, 20);
  const WindowPlan plan = plan_of(Method::kStandard, length, length, rows * length);
  check_plan(plan, {length, length, rows * length});
  RC_ASSERT(plan.count() == rows);
  for (int64_t i = 0; i < rows; ++i) RC_ASSERT(plan.window(i) == (Window{i * length, length, 0, length}));
}

RC_GTEST_PROP(SlidingA, CountsFollowTheFormulaAndTheFirstAreNeverScored, ()) {
  const Shape s = any_shape(true);
  const WindowPlan plan = plan_of(Method::kSlidingA, s.length, s.stride, s.predictions);
  check_plan(plan, s);
  RC_ASSERT(plan.scored() == s.stride * ((s.predictions - s.length) / s.stride + 1));
  const auto times = times_scored(plan, s.predictions);
  for (int64_t p = 0; p < s.predictions; ++p) {
    const bool inside = p >= s.length - s.stride && p < s.length - s.stride + plan.scored();
    RC_ASSERT(times[static_cast<size_t>(p)] == (inside ? 1 : 0));
  }
}

RC_GTEST_PROP(SlidingB, ScoresEveryPredictionExactlyOnceInOrder, ()) {
  const Shape s = any_shape(false);
  const WindowPlan plan = plan_of(Method::kSlidingB, s.length, s.stride, s.predictions);
  check_plan(plan, s);
  RC_ASSERT(plan.scored() == s.predictions);
  int64_t next = 0;
  for (int64_t i = 0; i < plan.count(); ++i) {
    const Window w = plan.window(i);
    RC_ASSERT(w.start + w.first_scored == next);
    next += w.scored_count;
    // Context of a full window: at least L - S previous tokens, except in the first.
    if (i > 0) RC_ASSERT(w.first_scored >= s.length - s.stride);
  }
  RC_ASSERT(next == s.predictions);
}

RC_GTEST_PROP(SlidingC, CountsFollowTheFormulaAndEveryPredictionIsScored, ()) {
  const Shape s = any_shape(false);
  const WindowPlan plan = plan_of(Method::kSlidingC, s.length, s.stride, s.predictions);
  check_plan(plan, s);
  int64_t expected = std::min(s.length, s.predictions);
  for (int64_t start = s.stride; start < s.predictions; start += s.stride) expected += std::min(s.stride, s.predictions - start);
  RC_ASSERT(plan.scored() == expected);
  const auto times = times_scored(plan, s.predictions);
  RC_ASSERT(*std::min_element(times.begin(), times.end()) >= 1);
}

RC_GTEST_PROP(SlidingC, AWindowCutAtTheEndScoresItsLastStride, ()) {
  const Shape s = any_shape(false);
  const WindowPlan plan = plan_of(Method::kSlidingC, s.length, s.stride, s.predictions);
  for (int64_t i = 1; i < plan.count(); ++i) {
    const Window w = plan.window(i);
    RC_ASSERT(w.start == i * s.stride && w.length == std::min(s.length, s.predictions - w.start));
    RC_ASSERT(w.scored_count == std::min(s.stride, w.length));
    RC_ASSERT(w.first_scored + w.scored_count == w.length);
  }
}

RC_GTEST_PROP(SlidingD, TheFirstWindowScoresOnlyItsFirstStride, ()) {
  const Shape s = any_shape(true);
  const WindowPlan plan = plan_of(Method::kSlidingD, s.length, s.stride, s.predictions);
  check_plan(plan, s);
  RC_ASSERT(plan.scored() == s.stride * ((s.predictions - s.length) / s.stride + 1));
  RC_ASSERT(plan.window(0) == (Window{0, s.length, 0, s.stride}));
  for (int64_t i = 1; i < plan.count(); ++i) RC_ASSERT(plan.window(i) == (Window{i * s.stride, s.length, s.length - s.stride, s.stride}));
}

TEST(ShortStreams, BAndCScoreEverythingOnceInTheirFirstWindow) {
  const WindowPlan b = plan_of(Method::kSlidingB, 100, 10, 37);
  EXPECT_EQ(b.count(), 1);
  EXPECT_EQ(b.window(0), (Window{0, 37, 0, 37}));
  const WindowPlan c = plan_of(Method::kSlidingC, 100, 10, 37);
  EXPECT_EQ(c.window(0), (Window{0, 37, 0, 37}));
  EXPECT_EQ(c.count(), 4);
}

TEST(ShortStreams, AAndDAreRefused) {
  for (Method m : {Method::kSlidingA, Method::kSlidingD}) {
    const auto plan = WindowPlan::create({m, 100, 10}, 99);
    ASSERT_FALSE(plan);
    EXPECT_EQ(plan.error().code, Errc::kData);
    EXPECT_NE(plan.error().message().find("99 predictions"), std::string::npos) << plan.error().message();
    EXPECT_TRUE(WindowPlan::create({m, 100, 10}, 100));
  }
}

TEST(ShortStreams, StandardRefusesABrokenRow) {
  const auto plan = WindowPlan::create({Method::kStandard, 100, 100}, 150);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().where, "eval.method");
}

}  // namespace
}  // namespace fairway::eval

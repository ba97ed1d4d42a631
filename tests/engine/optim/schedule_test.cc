#include "engine/optim/schedule.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace fairway::optim {
namespace {

ScheduleConfig steps(int64_t iterations, int64_t warmdown) { return {ScheduleKind::kSteps, iterations, warmdown, 600.0}; }
ScheduleConfig wallclock(int64_t warmdown, double seconds) { return {ScheduleKind::kWallclock, 20000, warmdown, seconds}; }

TEST(MultiplierBySteps, IsOneUntilTheWarmdownAndLinearToZero) {
  const ScheduleConfig c = steps(100, 40);
  EXPECT_EQ(multiplier_by_steps(c, 0), 1.0);
  EXPECT_EQ(multiplier_by_steps(c, 59), 1.0);
  EXPECT_EQ(multiplier_by_steps(c, 60), 1.0);
  EXPECT_EQ(multiplier_by_steps(c, 61), 39.0 / 40.0);
  EXPECT_EQ(multiplier_by_steps(c, 80), 0.5);
  EXPECT_EQ(multiplier_by_steps(c, 99), 1.0 / 40.0);
  EXPECT_EQ(multiplier_by_steps(c, 100), 0.0);
  EXPECT_EQ(multiplier_by_steps(c, 1000), 0.0);
}

TEST(MultiplierBySteps, AWarmdownLongerThanTheRunStartsBelowOne) {
  // #212's script: 12,507 achievable steps, a warmdown of 20,000.
  EXPECT_EQ(multiplier_by_steps(steps(12507, 20000), 0), 12507.0 / 20000.0);
  EXPECT_EQ(multiplier_by_steps(steps(12507, 20000), 12506), 1.0 / 20000.0);
}

TEST(MultiplierBySteps, WithoutAWarmdownItIsAlwaysOne) {
  for (int64_t k : {0, 99, 100, 500}) EXPECT_EQ(multiplier_by_steps(steps(100, 0), k), 1.0);
  EXPECT_EQ(multiplier_by_steps(steps(100, -5), 50), 1.0);
}

RC_GTEST_PROP(MultiplierBySteps, IsMinOfOneAndWhatIsLeft, ()) {
  const int64_t iterations = *rc::gen::inRange(1, 30000), warmdown = *rc::gen::inRange(1, 30000), k = *rc::gen::inRange(0, 30000);
  const double left = static_cast<double>(std::max<int64_t>(iterations - k, 0)) / static_cast<double>(warmdown);
  RC_ASSERT(multiplier_by_steps(steps(iterations, warmdown), k) == std::min(1.0, left));
}

TEST(MultiplierByWallclock, StepZeroIsOne) {
  EXPECT_EQ(multiplier_by_wallclock(wallclock(1200, 600), 0, 0.0), 1.0);
  EXPECT_EQ(multiplier_by_wallclock(wallclock(20000, 600), 0, 0.0), 1.0);
}

TEST(MultiplierByWallclock, FollowsTheMeanStepTime) {
  const ScheduleConfig c = wallclock(1200, 600);
  // 10,000 steps of 50 ms: 1,200 steps need 60 s, 100 s are left.
  EXPECT_EQ(multiplier_by_wallclock(c, 10000, 500000.0), 1.0);
  // 11,400 steps: 30 s are left of the 60 s a warmdown takes.
  EXPECT_EQ(multiplier_by_wallclock(c, 11400, 570000.0), 0.5);
  // Exactly at the border both branches give one.
  EXPECT_EQ(multiplier_by_wallclock(c, 10800, 540000.0), 1.0);
}

TEST(MultiplierByWallclock, IsZeroAtAndAfterTheEnd) {
  const ScheduleConfig c = wallclock(1200, 600);
  EXPECT_EQ(multiplier_by_wallclock(c, 12000, 600000.0), 0.0);
  EXPECT_EQ(multiplier_by_wallclock(c, 12000, 700000.0), 0.0);
}

TEST(MultiplierByWallclock, WithoutAWarmdownItIsAlwaysOne) {
  EXPECT_EQ(multiplier_by_wallclock(wallclock(0, 600), 12000, 700000.0), 1.0);
  EXPECT_EQ(multiplier_by_wallclock(wallclock(-1, 600), 0, 0.0), 1.0);
}

TEST(MultiplierByWallclock, SlowFirstStepsDepressIt) {
  // 7,420 ms after ten steps: 3,500 steps would need 2,597 s, 592.58 s are left.
  const double found = multiplier_by_wallclock(wallclock(3500, 600), 10, 7420.0);
  EXPECT_EQ(found, (600000.0 - 7420.0) / (3500.0 * 742.0));
}

TEST(MomentumAt, WarmsUpLinearly) {
  const MomentumConfig c{0.95, 0.85, 500};
  EXPECT_EQ(momentum_at(c, 0), 0.85);
  EXPECT_DOUBLE_EQ(momentum_at(c, 250), 0.9);
  EXPECT_EQ(momentum_at(c, 500), 0.95);
  EXPECT_EQ(momentum_at(c, 100000), 0.95);
}

TEST(MomentumAt, WithoutAWarmupItIsFinalAtOnce) {
  EXPECT_EQ(momentum_at({0.95, 0.85, 0}, 0), 0.95);
  EXPECT_EQ(momentum_at({0.99, 0.85, -1}, 0), 0.99);
}

}  // namespace
}  // namespace fairway::optim

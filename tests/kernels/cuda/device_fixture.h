/// One text of a test for a simulated device and, with FAIRWAY_TEST_ON_GPU, for a GPU.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "kernels/cuda/cuda_executor.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/device_executor.h"
#include "tests/kernels/cuda/simulated_device.h"

namespace fairway::test {

using SimulatedExecutor = cuda::DeviceExecutor<SimulatedDevice>;

#if defined(FAIRWAY_TEST_ON_GPU)
class DeviceFixture : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string problem = cuda::device_problem(); !problem.empty()) GTEST_SKIP() << problem;
    executor_ = cuda::cuda_executor();
  }
  kernels::Executor& device() { return *executor_; }

 private:
  std::unique_ptr<kernels::Executor> executor_;
};
#else
class DeviceFixture : public ::testing::Test {
 protected:
  /// The simulation found nothing, and there was something to look at.
  void TearDown() override {
    EXPECT_EQ(executor_.queue().problem(), "");
    EXPECT_GT(executor_.queue().launches(), 100);
  }
  kernels::Executor& device() { return executor_; }

 private:
  SimulatedExecutor executor_{uint64_t{3}};
};
#endif

}  // namespace fairway::test

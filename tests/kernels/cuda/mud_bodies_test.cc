// MUD under a simulated grid: the CPU's bits, several matrices at once.
#include <gtest/gtest.h>

#include "../support.h"
#include "kernels/cuda/device_executor.h"
#include "kernels/mud.h"
#include "simulated_device.h"

namespace fairway::cuda {
namespace {

using test::Floats;

TEST(DeviceMud, GivesTheBitsOfTheCpu) {
  for (auto products : {Products::kP3, Products::kP4, Products::kS21}) {
    for (auto [count, rows, columns] : {std::array<int64_t, 3>{1, 1, 5}, {2, 7, 9}, {3, 11, 3}, {1, 5, 5}}) {
      Floats u = test::student_t3(static_cast<size_t>(count * rows * columns), 1);
      std::fill_n(u.begin(), rows > 1 ? columns : 0, 0.0f);
      Floats expected = u, got(u.size());
      kernels::MudScratch scratch;
      ASSERT_TRUE(kernels::mud(expected.data(), count, rows, columns, 2, products, scratch));
      DeviceExecutor<test::SimulatedDevice> executor(uint64_t{2});
      kernels::Buffer<float> on_device(executor.queue(), "u");
      on_device.upload(u.data(), u.size());
      ASSERT_TRUE(executor.mud(on_device.data(), count, rows, columns, 2, products));
      on_device.download(got.data());
      EXPECT_TRUE(test::same_bits(expected, got)) << count << " of " << rows << " x " << columns;
      EXPECT_TRUE(executor.sound());
      EXPECT_EQ(executor.queue().problem(), "");
    }
  }
}

TEST(DeviceMud, WhatIsNotFiniteIsReported) {
  Floats u(12, 1.0f);
  u[7] = num::float_of(num::kInfinityBits);
  DeviceExecutor<test::SimulatedDevice> executor(uint64_t{3});
  kernels::Buffer<float> on_device(executor.queue(), "u");
  on_device.upload(u.data(), u.size());
  EXPECT_TRUE(executor.mud(on_device.data(), 1, 3, 4, 1, Products::kP3));
  EXPECT_FALSE(executor.sound());
}

}  // namespace
}  // namespace fairway::cuda

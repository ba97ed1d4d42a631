// Vectors of length one and steps between them under a simulated grid: the CPU's bits.
#include <gtest/gtest.h>

#include "../support.h"
#include "kernels/cuda/bodies/unit_vectors.h"
#include "kernels/cuda/device_executor.h"
#include "kernels/elementwise.h"
#include "kernels/unit_vectors.h"
#include "simulated_device.h"
#include "simulated_launch.h"

namespace fairway::cuda {
namespace {

using test::Floats;
using test::launch;
using test::launch_elements;
using test::Simulation;

TEST(DeviceUnitVectors, RowsAndTheirGradientsGiveTheBitsOfTheCpu) {
  for (auto [rows, n] : {std::array<int64_t, 2>{1, 1}, {9, 33}, {17, 128}}) {
    Floats x = test::student_t3(static_cast<size_t>(rows * n), 1);
    if (rows > 1) std::fill_n(x.begin(), n, 0.0f);
    if (rows > 2) std::fill_n(x.begin() + n, n, 0x1p-60f);  // a length that is clamped
    const Floats dy = test::gaussian(x.size(), 2);
    Floats y(x.size()), norm(static_cast<size_t>(rows)), dx(x.size());
    Floats ey = y, enorm = norm, edx = dx;
    ASSERT_TRUE(kernels::unit_rows(x.data(), rows, n, ey.data(), enorm.data()));
    ASSERT_TRUE(kernels::unit_rows_backward(dy.data(), ey.data(), enorm.data(), rows, n, edx.data()));
    std::vector<uint32_t> failure(1, 0);
    Simulation s(3);
    uint32_t* flag = s.inout(failure);
    launch(s, WarpRows<UnitRows>{rows, {s.input(x), n, s.output(y), s.output(norm), flag}});
    EXPECT_TRUE(test::same_bits(ey, y) && test::same_bits(enorm, norm)) << rows << " x " << n;
    launch(s, WarpRows<UnitRowsBackward>{rows, {s.input(dy), y.data(), norm.data(), n, s.output(dx), flag}});
    EXPECT_TRUE(test::same_bits(edx, dx)) << rows << " x " << n;
    Floats in_place = x;
    float* p = s.inout(in_place);
    launch(s, WarpRows<UnitRows>{rows, {p, n, p, nullptr, flag}});
    EXPECT_TRUE(test::same_bits(ey, in_place)) << rows << " x " << n;
    EXPECT_EQ(failure[0], 0u);
  }
}

TEST(DeviceUnitVectors, WhatIsNotFiniteIsReported) {
  Floats x(80, 1.0f), y(80);
  x[79] = num::float_of(num::kInfinityBits);
  std::vector<uint32_t> failure(1, 0);
  Simulation s(4);
  launch(s, WarpRows<UnitRows>{2, {s.input(x), 40, s.output(y), nullptr, s.inout(failure)}});
  EXPECT_EQ(failure[0], static_cast<uint32_t>(kNotFinite));
  EXPECT_FALSE(kernels::unit_rows(x.data(), 2, 40, y.data(), nullptr));
}

TEST(DeviceUnitVectors, ColumnsGiveTheBitsOfTheCpu) {
  constexpr int64_t kRows = 35, n = 70;
  const Floats x = test::student_t3(kRows * n, 5);
  Floats expected = x, got(x.size());
  ASSERT_TRUE(kernels::unit_columns(expected.data(), kRows, n));
  DeviceExecutor<test::SimulatedDevice> executor(uint64_t{6});
  kernels::Buffer<float> on_device(executor.queue(), "x");
  on_device.upload(x.data(), x.size());
  ASSERT_TRUE(executor.unit_columns(on_device.data(), kRows, n));
  on_device.download(got.data());
  EXPECT_TRUE(test::same_bits(expected, got));
  EXPECT_TRUE(executor.sound());
  EXPECT_EQ(executor.queue().problem(), "");
}

TEST(DeviceUnitVectors, StepsGiveTheBitsOfTheCpu) {
  constexpr int64_t kRows = 7, n = 45, count = kRows * n;
  const Floats x = test::gaussian(count, 7), u = test::gaussian(count, 8);
  Floats rate = test::gaussian(n, 9);
  rate[3] = 0.0f;
  rate[4] = -0.0f;
  Floats step(n), rest(n), slope(n), y(count), difference(count);
  Floats estep = step, erest = rest, eslope = slope, ey = y, edifference = difference;
  kernels::interpolation_rates(rate.data(), 0.37f, n, estep.data(), erest.data(), eslope.data());
  kernels::interpolate(x.data(), estep.data(), u.data(), kRows, n, ey.data());
  kernels::scaled_difference(u.data(), x.data(), eslope.data(), kRows, n, edifference.data());
  Simulation s(10);
  const float *in = s.input(x), *towards = s.input(u);
  launch_elements(s, n, InterpolationRates{s.input(rate), 0.37f, s.output(step), s.output(rest), s.output(slope)});
  EXPECT_TRUE(test::same_bits(estep, step) && test::same_bits(erest, rest) && test::same_bits(eslope, slope));
  launch_elements(s, count, Interpolate{in, step.data(), towards, n, s.output(y)});
  launch_elements(s, count, ScaledDifference{towards, in, slope.data(), n, s.output(difference)});
  EXPECT_TRUE(test::same_bits(ey, y) && test::same_bits(edifference, difference));
}

}  // namespace
}  // namespace fairway::cuda

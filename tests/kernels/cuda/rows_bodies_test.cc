// Row-wise and element-wise bodies, accumulators and optimizers under a simulated grid: the CPU's bits.
#include <gtest/gtest.h>

#include "../support.h"
#include "kernels/accumulate.h"
#include "kernels/cuda/bodies/rows.h"
#include "kernels/cuda/bodies/turn.h"
#include "kernels/elementwise.h"
#include "kernels/rows.h"
#include "simulated_launch.h"

namespace fairway::cuda {
namespace {

using test::Floats;
using test::launch;
using test::launch_elements;
using test::Simulation;

Floats rows_of_all_kinds(int64_t rows, int64_t n, uint64_t seed) {
  Floats x = test::student_t3(static_cast<size_t>(rows * n), seed);
  for (int64_t r = 0; r < rows; ++r) {
    const float scale = r % 4 == 0 ? 1.0f : r % 4 == 1 ? 0x1p-130f : r % 4 == 2 ? 0.0f : 0x1p+50f;
    for (int64_t c = 0; c < n; ++c) x[static_cast<size_t>(r * n + c)] *= scale;
  }
  return x;
}

TEST(DeviceRows, NormsAndDotsGiveTheBitsOfTheCpu) {
  for (auto [rows, n] : {std::array<int64_t, 2>{1, 1}, {9, 31}, {17, 512}, {3, 1000}}) {
    const size_t size = static_cast<size_t>(rows * n);
    const Floats x = rows_of_all_kinds(rows, n, 1), dy = rows_of_all_kinds(rows, n, 2);
    Floats y(size), r(static_cast<size_t>(rows)), dx(size), dot(r.size()), ey(size), er(r.size()), edx(size), edot(r.size());
    ASSERT_TRUE(kernels::rms_norm(x.data(), rows, n, ey.data(), er.data()));
    ASSERT_TRUE(kernels::rms_norm_backward(dy.data(), ey.data(), er.data(), rows, n, edx.data()));
    ASSERT_TRUE(kernels::row_dot(x.data(), dy.data(), rows, n, edot.data()));
    std::vector<uint32_t> failure(1, 0);
    Simulation s(3);
    uint32_t* flag = s.inout(failure);
    const float *in = s.input(x), *gradient = s.input(dy);
    launch(s, WarpRows<RmsNorm>{rows, {in, n, s.output(y), s.output(r), flag}});
    launch(s, WarpRows<RmsNormBackward>{rows, {gradient, y.data(), r.data(), n, s.output(dx), flag}});
    launch(s, WarpRows<RowDot>{rows, {in, gradient, n, s.output(dot), flag}});
    EXPECT_EQ(failure[0], 0u);
    EXPECT_TRUE(test::same_bits(ey, y) && test::same_bits(er, r));
    EXPECT_TRUE(test::same_bits(edx, dx));
    EXPECT_TRUE(test::same_bits(edot, dot));
  }
}

TEST(DeviceRows, ANormMayReplaceItsInputAndReportsWhatIsNotFinite) {
  Floats x = test::gaussian(5 * 70, 4), expected(x.size()), r(5);
  ASSERT_TRUE(kernels::rms_norm(x.data(), 5, 70, expected.data(), r.data()));
  std::vector<uint32_t> failure(1, 0);
  Simulation s(5);
  uint32_t* flag = s.inout(failure);
  float* in_place = s.inout(x);
  launch(s, WarpRows<RmsNorm>{5, {in_place, 70, in_place, s.output(r), flag}});
  EXPECT_TRUE(test::same_bits(expected, x));
  x[100] = num::float_of(0x7fc00001u);
  launch(s, WarpRows<RmsNorm>{5, {in_place, 70, in_place, r.data(), flag}});
  EXPECT_EQ(failure[0], static_cast<uint32_t>(kNotFinite));
}

TEST(DeviceRows, SumsOfSquaresOfSeveralTensorsGiveTheBitsOfTheCpu) {
  for (int64_t count : {1, 4096, 9000}) {
    constexpr int64_t kTensors = 3;
    Floats x = test::gaussian(static_cast<size_t>(kTensors * count), 6, 3.0f);
    std::fill_n(x.begin() + count, count, 0.0f);
    const SquareRows body{nullptr, count, nullptr, nullptr};
    std::vector<double> values(static_cast<size_t>(kTensors * body.rows_per_tensor())), totals(kTensors);
    std::vector<uint32_t> failure(1, 0);
    Simulation s(7);
    launch(s, WarpRows<SquareRows>{kTensors * body.rows_per_tensor(),
                                   {s.input(x), count, s.output(values), s.inout(failure)}});
    launch(s, WarpRows<SquareTotals>{kTensors, {values.data(), body.rows_per_tensor(), s.output(totals)}});
    for (int64_t t = 0; t < kTensors; ++t) {
      kernels::SumOfSquares squares;
      ASSERT_TRUE(squares.add({x.data() + t * count, static_cast<size_t>(count)}));
      EXPECT_EQ(num::bits_of(totals[static_cast<size_t>(t)]), num::bits_of(squares.total())) << "tensor " << t;
    }
  }
}

TEST(DeviceRows, LossesAndTheirGradientsGiveTheBitsOfTheCpu) {
  for (int64_t vocab : {1, 33, 1000}) {
    for (float cap : {0.0f, 30.0f}) {
      const int64_t rows = 4;
      const Floats logits = test::student_t3(static_cast<size_t>(rows * vocab), 8);
      const std::vector<uint16_t> targets = {0, static_cast<uint16_t>(vocab - 1), static_cast<uint16_t>(vocab / 2), 0};
      for (bool gradient : {false, true}) {
        Floats expected = logits, z = logits, nll(4), expected_nll(4);
        ASSERT_TRUE(kernels::cross_entropy(expected.data(), rows, vocab, cap, targets.data(), expected_nll.data(), gradient));
        std::vector<uint32_t> failure(1, 0);
        Simulation s(9);
        launch(s, CrossEntropy{s.inout(z), rows, vocab, cap, s.input(targets), s.output(nll), gradient, s.inout(failure)});
        EXPECT_EQ(failure[0], 0u);
        EXPECT_TRUE(test::same_bits(expected_nll, nll));
        EXPECT_TRUE(test::same_bits(expected, z));
      }
    }
  }
}

TEST(DeviceRows, ALossOutOfRangeAndALogitThatIsNotFiniteAreReported) {
  Floats z = {0.0f, 2000.0f, 0.0f, num::float_of(0x7f800000u)}, nll(2);
  const std::vector<uint16_t> targets = {0, 0};
  std::vector<uint32_t> failure(1, 0);
  Simulation s(10);
  launch(s, CrossEntropy{s.inout(z), 2, 2, 0.0f, s.input(targets), s.output(nll), false, s.inout(failure)});
  EXPECT_EQ(failure[0], static_cast<uint32_t>(kTooLarge | kNotFinite));
}

TEST(DeviceAccumulators, GiveTheIntegersOfTheCpuInAnyOrder) {
  const int64_t rows = 150, n = 300;
  Floats a = test::student_t3(static_cast<size_t>(rows * n), 11), b = test::gaussian(a.size(), 12);
  a[7] = 0x1.8p+25f;  // beyond 2^21: an integer number of units
  std::vector<uint16_t> ids;
  for (int64_t r = 0; r < rows; ++r) ids.push_back(static_cast<uint16_t>(r * r % 5));
  const float limit = kernels::term_limit(2);
  std::vector<int64_t> expected(static_cast<size_t>(5 * n), 3), got = expected;
  ASSERT_TRUE(kernels::accumulate(a.data(), n, limit, expected.data()));
  ASSERT_TRUE(kernels::accumulate_rows(a.data(), rows, n, limit, expected.data() + n));
  ASSERT_TRUE(kernels::accumulate_products(a.data(), b.data(), rows, n, limit, expected.data() + 2 * n));
  ASSERT_TRUE(kernels::accumulate_gathered(b.data(), ids.data(), rows, n, limit, expected.data()));
  std::vector<uint32_t> failure(1, 0);
  Simulation s(13);
  uint32_t* flag = s.inout(failure);
  const float *x = s.input(a), *y = s.input(b);
  int64_t* acc = s.inout(got);
  launch_elements(s, n, Accumulate{x, limit, acc, flag});
  const AccumulateRows sums{x, nullptr, rows, n, limit, acc + n, flag}, products{x, y, rows, n, limit, acc + 2 * n, flag};
  launch(s, sums);
  launch(s, products);
  launch_elements(s, rows * n, AccumulateGathered{y, s.input(ids), n, limit, acc, flag});
  EXPECT_EQ(failure[0], 0u);
  EXPECT_TRUE(test::same_bits(expected, got));

  Floats mean(got.size()), expected_mean(got.size());
  kernels::accumulated_mean(expected.data(), static_cast<int64_t>(expected.size()), 12345.0f, expected_mean.data());
  launch_elements(s, static_cast<int64_t>(got.size()), AccumulatedMean{acc, 12345.0f, s.output(mean)});
  EXPECT_TRUE(test::same_bits(expected_mean, mean));
}

TEST(DeviceAccumulators, ATermBeyondItsLimitIsReported) {
  for (float bad : {0x1.000002p+10f, -0x1.000002p+10f, num::float_of(0x7f800000u), num::float_of(0x7fc00000u)}) {
    Floats a(40, 1.0f);
    a[17] = bad;
    std::vector<int64_t> acc(40, 0);
    std::vector<uint32_t> failure(1, 0);
    Simulation s(14);
    uint32_t* flag = s.inout(failure);
    const AccumulateRows sums{s.input(a), nullptr, 1, 40, 0x1p+10f, s.inout(acc), flag};
    launch(s, sums);
    EXPECT_EQ(failure[0], static_cast<uint32_t>(kTooLarge));
    failure[0] = 0;
    launch_elements(s, 40, Accumulate{a.data(), 0x1p+10f, acc.data(), flag});
    EXPECT_EQ(failure[0], static_cast<uint32_t>(kTooLarge));
  }
}

TEST(DeviceElements, GiveTheBitsOfTheCpu) {
  constexpr int64_t kTokens = 13, kLength = 5, kHeads = 3, kDim = 10, n = kHeads * kDim, count = kTokens * n;
  const Floats x = test::student_t3(count, 20), a = test::gaussian(count, 21), s0 = test::gaussian(n, 22), s1 = test::gaussian(n, 23);
  Floats table(kLength * 8);
  kernels::rope_table(kLength, 8, 10000.0, false, table.data());
  const std::vector<uint16_t> ids = {4, 0, 12, 12, 1, 2, 3, 5, 6, 7, 8, 9, 10};
  Simulation s(24);
  const float *in = s.input(x), *other = s.input(a), *c0 = s.input(s0), *c1 = s.input(s1), *angles = s.input(table);
  const uint16_t* rows = s.input(ids);
  const Floats trained = {-0.3f, 0.3f, 0.9f};
  const float* scalars = s.input(trained);
  Floats got(count), expected(count);
  float* out = s.output(got);
  const auto check = [&](const char* name, int64_t elements, const auto& element, const auto& cpu) {
    cpu();
    launch_elements(s, elements, element);
    EXPECT_TRUE(test::same_bits(expected, got)) << name;
  };
  float* e = expected.data();
  check("mix", count, MixChannels{in, other, c0, c1, n, out}, [&] { kernels::mix(in, other, c0, c1, kTokens, n, e); });
  check("scaled_add", count, AddScaledChannels{in, c0, other, n, out}, [&] { kernels::scaled_add(in, c0, other, kTokens, n, e); });
  check("scale_channels", count, ScaleBy<Per::kChannel>{in, c0, {n}, out}, [&] { kernels::scale_channels(in, c0, kTokens, n, e); });
  check("scale_rows", count, ScaleBy<Per::kRow>{in, c0, {n}, out}, [&] { kernels::scale_rows(in, c0, kTokens, n, e); });
  check("scale_heads", count, ScaleBy<Per::kHead>{in, c0, {kDim, kHeads}, out}, [&] { kernels::scale_heads(in, c0, kTokens, kHeads, kDim, e); });
  check("scale_by", count, ScaleBy<Per::kAll>{in, scalars, {count}, out}, [&] { kernels::scale(in, -0.3f, count, e); });
  check("scale", count, Scale{in, 1.7f, out}, [&] { kernels::scale(in, 1.7f, count, e); });
  check("add", count, Add{in, other, out}, [&] { kernels::add(in, other, count, e); });
  check("add_scaled", count, AddScaled{in, scalars, other, out}, [&] { kernels::add_scaled(in, -0.3f, other, count, e); });
  check("mix_scalars", count, MixScalars{in, other, scalars + 1, out}, [&] { kernels::mix_scalars(in, 0.3f, other, 0.9f, count, e); });
  check("add_to", count, Add{out, other, out}, [&] { kernels::add_to(other, count, e); });
  check("relu", count, ReluSquared{in, out}, [&] { kernels::relu_squared(in, count, e); });
  check("relu backward", count, ReluSquaredBackward{in, other, out}, [&] { kernels::relu_squared_backward(in, other, count, e); });
  check("leaky", count, LeakyReluSquared{in, 0.5f, out}, [&] { kernels::leaky_relu_squared(in, 0.5f, count, e); });
  check("leaky backward", count, LeakyReluSquaredBackward{in, 0.5f, other, out}, [&] { kernels::leaky_relu_squared_backward(in, 0.5f, other, count, e); });
  check("rope", kTokens * kHeads * 4, Rope<false>{out, kLength, kHeads, kDim, 8, angles},
        [&] { kernels::rope(e, kTokens, kLength, kHeads, kDim, 8, angles, false); });
  check("rope back", kTokens * kHeads * 4, Rope<true>{out, kLength, kHeads, kDim, 8, angles},
        [&] { kernels::rope(e, kTokens, kLength, kHeads, kDim, 8, angles, true); });
  check("bf16", count, RoundToBf16{out}, [&] { kernels::round_to_bf16(expected); });
  check("gather", count, GatherRows{in, rows, n, out}, [&] { kernels::gather_rows(in, ids.data(), kTokens, n, e); });
}

TEST(DeviceElements, AMatrixTurnedTwiceIsItself) {
  for (auto [count, rows, columns] : {std::array<int64_t, 3>{1, 1, 1}, {2, 33, 70}, {3, 64, 31}}) {
    const Floats x = test::gaussian(static_cast<size_t>(count * rows * columns), 25);
    Floats turned(x.size()), back(x.size());
    Simulation s(26);
    launch(s, TurnMatrices{s.input(x), count, rows, columns, s.output(turned)});
    launch(s, TurnMatrices{turned.data(), count, columns, rows, s.output(back)});
    EXPECT_TRUE(test::same_bits(x, back));
    EXPECT_EQ(turned[static_cast<size_t>(rows - 1)], x[static_cast<size_t>((rows - 1) * columns)]);
  }
}

/// The order of launches of a batched Newton-Schulz step's norm: one divisor per matrix.
TEST(DeviceElements, NewtonSchulzDividesEachMatrixByItsOwnNorm) {
  constexpr int64_t kMatrices = 3, kSize = 5000;
  Floats x = test::gaussian(kMatrices * kSize, 27), expected = x;
  std::fill_n(x.begin() + kSize, kSize, 0.0f);
  std::fill_n(expected.begin() + kSize, kSize, 0.0f);
  for (int64_t m = 0; m < kMatrices; ++m) {
    kernels::SumOfSquares squares;
    ASSERT_TRUE(squares.add({expected.data() + m * kSize, static_cast<size_t>(kSize)}));
    const float divisor = ops::newton_schulz_divisor(squares.total());
    for (int64_t i = 0; i < kSize; ++i) expected[static_cast<size_t>(m * kSize + i)] = ops::newton_schulz_input(expected[static_cast<size_t>(m * kSize + i)], divisor);
  }
  std::vector<double> values(6), totals(kMatrices);
  std::vector<uint32_t> failure(1, 0);
  Simulation s(28);
  float* in = s.inout(x);
  launch(s, WarpRows<SquareRows>{2 * kMatrices, {in, kSize, s.output(values), s.inout(failure)}});
  launch(s, WarpRows<SquareTotals>{kMatrices, {values.data(), 2, s.output(totals)}});
  launch_elements(s, kMatrices * kSize, NewtonSchulzInput{in, totals.data(), kSize});
  EXPECT_TRUE(test::same_bits(expected, x));
}

TEST(DeviceElements, OptimizersGiveTheBitsOfTheirElements) {
  constexpr int64_t kCount = 700;
  const Floats g = test::student_t3(kCount, 30), w0 = test::gaussian(kCount, 31), m0 = test::gaussian(kCount, 32, 0.1f);
  Floats v0 = test::gaussian(kCount, 33);
  for (float& v : v0) v *= v;
  const ops::AdamStep step{0.01f, 0.9f, 0.95f, 0.1f, 0.05f, 0.3f, 0.2f, 1e-8f, 0.999f};
  for (bool bf16 : {false, true}) {
    Floats m = m0, v = v0, w = w0, u = g, em = m0, ev = v0, ew = w0, eu = g;
    Simulation s(34);
    launch_elements(s, kCount, Adam{s.input(g), bf16, step, s.inout(m), s.inout(v), s.inout(w)});
    for (size_t i = 0; i < kCount; ++i) ops::adam_element(g[i], bf16, step, em[i], ev[i], ew[i]);
    EXPECT_TRUE(test::same_bits(em, m) && test::same_bits(ev, v) && test::same_bits(ew, w));
    launch_elements(s, kCount, MuonMomentum{s.inout(u), m.data(), 0.95f, bf16});
    for (size_t i = 0; i < kCount; ++i) eu[i] = bf16 ? ops::muon_momentum_bf16(eu[i], 0.95f, em[i]) : ops::muon_momentum(eu[i], 0.95f, em[i]);
    EXPECT_TRUE(test::same_bits(em, m) && test::same_bits(eu, u));
    launch_elements(s, kCount, MuonUpdate{w.data(), u.data(), 1.5f, 0.02f, 0.99f, 1.0f});
    for (size_t i = 0; i < kCount; ++i) ew[i] = ops::muon_update(ew[i], eu[i], 1.5f, 0.02f, 0.99f, 1.0f);
    launch_elements(s, kCount, ParallelMuonUpdate{w.data(), u.data(), 0.03f, 0.98f});
    for (size_t i = 0; i < kCount; ++i) ew[i] = ops::parallel_muon_update(ew[i], eu[i], 0.03f, 0.98f);
    EXPECT_TRUE(test::same_bits(ew, w));
  }
}

}  // namespace
}  // namespace fairway::cuda

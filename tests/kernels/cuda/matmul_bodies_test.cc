// The tensor-core product under a simulated grid: the CPU's bits for shapes that divide no tile, and at the limits of int32.
#include <gtest/gtest.h>

#include "../support.h"
#include "device_matrix.h"
#include "kernels/accumulate.h"
#include "kernels/cuda/bodies/combine.h"
#include "kernels/cuda/bodies/matmul.h"
#include "kernels/matmul.h"

namespace fairway::cuda {
namespace {

using test::Floats;
using test::Simulation;

enum class Filling { kGaussian, kAllLimit, kSignsOfLimit, kZeroRows, kSubnormal };

Floats fill(int64_t count, Filling filling, uint64_t seed, int bits) {
  std::mt19937_64 engine(seed);
  Floats x = test::gaussian(static_cast<size_t>(count), seed, filling == Filling::kSubnormal ? 0x1p-140f : 1.0f);
  // With e = 0 the largest q: every slice at its limit.
  const float limit = bits == 14 ? 16319.0f * 0x1p-14f : 2088895.0f * 0x1p-21f;
  for (size_t i = 0; i < x.size(); ++i) {
    if (filling == Filling::kAllLimit) x[i] = limit;
    if (filling == Filling::kSignsOfLimit) x[i] = engine() % 2 == 0 ? limit : -limit;
    if (filling == Filling::kZeroRows && i % 7 != 0) x[i] = 0.0f;
  }
  return x;
}

kernels::Quantised quantised(const Floats& x, int64_t rows, int64_t columns, int bits) {
  kernels::Quantised q;
  EXPECT_TRUE(kernels::quantise_rows(x.data(), rows, columns, columns, bits, q));
  return q;
}

template <Products P>
void product_equals_the_cpu(int64_t batch, int64_t m, int64_t n, int64_t k, Filling filling, uint64_t seed) {
  SCOPED_TRACE(std::to_string(batch) + " x (" + std::to_string(m) + ", " + std::to_string(n) + ", " + std::to_string(k) + ")");
  constexpr int kBits = Scheme<P>::kBits;
  kernels::Quantised a = quantised(fill(batch * m * k, filling, seed, kBits), batch * m, k, kBits);
  kernels::Quantised b = quantised(fill(batch * n * k, filling, seed + 1, kBits), batch * n, k, kBits);
  Floats expected(static_cast<size_t>(batch * m * n)), c(expected.size());
  kernels::exact_matmul_batched(a, b, batch, P, expected.data());
  test::SliceMemory on_a(a), on_b(b);
  {
    Simulation s(seed);
    const ExactMatmul<P, StoreProduct> body{on_a.declare(s, true), on_b.declare(s, true), batch, m, n, {{s.output(c), batch * m, n, n}}};
    s.launch(body);
    ASSERT_EQ(s.problem(), "");
    EXPECT_TRUE(test::same_bits(expected, c));
  }
  // The same, added to accumulators within the kernel.
  std::vector<int64_t> accumulator(expected.size(), 77), sum = accumulator;
  const float limit = kernels::term_limit(64);
  const bool within = kernels::accumulate(expected.data(), static_cast<int64_t>(expected.size()), limit, accumulator.data());
  std::vector<uint32_t> failure(1, 0);
  Simulation s(seed + 1);
  const ExactMatmul<P, AccumulateProduct> body{
      on_a.declare(s, true), on_b.declare(s, true), batch, m, n, {{s.inout(sum), batch * m, n, n}, limit, s.inout(failure)}};
  s.launch(body);
  ASSERT_EQ(s.problem(), "");
  EXPECT_EQ(failure[0], within ? 0u : static_cast<uint32_t>(kTooLarge));
  EXPECT_TRUE(!within || test::same_bits(accumulator, sum));
}

TEST(DeviceMatmul, GivesTheBitsOfTheCpuForShapesThatDivideNoTile) {
  uint64_t seed = 0;
  for (auto [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {16, 8, 32}, {129, 65, 65}, {37, 130, 200}, {128, 128, 128}}) {
    product_equals_the_cpu<Products::kP3>(1, m, n, k, Filling::kGaussian, ++seed);
    product_equals_the_cpu<Products::kP4>(1, m, n, k, Filling::kGaussian, ++seed);
    product_equals_the_cpu<Products::kS21>(1, m, n, k, Filling::kGaussian, ++seed);
  }
}

TEST(DeviceMatmul, ABatchIsItsProductsOneByOne) {
  product_equals_the_cpu<Products::kP3>(3, 20, 33, 70, Filling::kGaussian, 100);
  product_equals_the_cpu<Products::kS21>(2, 131, 40, 96, Filling::kGaussian, 101);
}

TEST(DeviceMatmul, ZeroRowsAndSubnormalsGiveTheBitsOfTheCpu) {
  for (Filling f : {Filling::kZeroRows, Filling::kSubnormal}) {
    product_equals_the_cpu<Products::kP3>(1, 19, 21, 150, f, 200);
    product_equals_the_cpu<Products::kS21>(1, 19, 21, 150, f, 201);
  }
}

/// The slice products as a library gives them, from plain integer sums; rows of B rounded up to 4, the last ones undefined.
template <Products P>
void combination_equals_the_cpu(int64_t m, int64_t n, int64_t k, Filling filling) {
  constexpr int kBits = Scheme<P>::kBits;
  kernels::Quantised a = quantised(fill(m * k, filling, 5, kBits), m, k, kBits), b = quantised(fill(n * k, filling, 6, kBits), n, k, kBits);
  Floats expected(static_cast<size_t>(m * n)), c(expected.size());
  kernels::exact_matmul(a, b, P, expected.data(), n);
  const int64_t ld = (n + 3) / 4 * 4;
  std::vector<std::vector<int32_t>> products(KeptProducts<P>::kCount, std::vector<int32_t>(static_cast<size_t>(m * ld), 0x5a5a5a5a));
  std::vector<int32_t> ea(a.exponents(), a.exponents() + m), eb(b.exponents(), b.exponents() + n);
  Simulation s(7);
  CombineProducts<P> body{{}, ld, s.input(ea), s.input(eb), {s.output(c), m, n, n}};
  KeptProducts<P>::each([&](int index, int i, int j) {
    std::vector<int32_t>& d = products[static_cast<size_t>(index)];
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t q = 0; q < n; ++q) {
        int64_t sum = 0;
        for (int64_t x = 0; x < k; ++x) sum += (a.plane(i) + r * a.stride())[x] * (b.plane(j) + q * b.stride())[x];
        ASSERT_EQ(sum, static_cast<int32_t>(sum)) << "int32 holds every slice product";
        d[static_cast<size_t>(r * ld + q)] = static_cast<int32_t>(sum);
      }
    }
    body.product[index] = s.input(d);
  });
  s.launch(body);
  ASSERT_EQ(s.problem(), "");
  EXPECT_TRUE(test::same_bits(expected, c));
}

TEST(DeviceMatmul, SliceProductsOfALibraryCombineToTheBitsOfTheCpu) {
  for (Filling f : {Filling::kGaussian, Filling::kZeroRows, Filling::kSubnormal}) {
    combination_equals_the_cpu<Products::kP3>(33, 21, 100, f);
    combination_equals_the_cpu<Products::kP4>(33, 21, 100, f);
    combination_equals_the_cpu<Products::kS21>(33, 21, 100, f);
  }
  combination_equals_the_cpu<Products::kP3>(2, 3, kernels::kMaxContraction, Filling::kAllLimit);
  combination_equals_the_cpu<Products::kP4>(2, 3, kernels::kMaxContraction, Filling::kSignsOfLimit);
  combination_equals_the_cpu<Products::kS21>(2, 3, kernels::kMaxContraction / 2, Filling::kAllLimit);
}

TEST(DeviceMatmul, EverySliceAtItsLimitGivesTheBitsOfTheCpu) {
  for (Filling f : {Filling::kAllLimit, Filling::kSignsOfLimit}) {
    product_equals_the_cpu<Products::kP3>(1, 2, 2, 1000, f, 300);
    product_equals_the_cpu<Products::kP4>(1, 1, 2, 1000, f, 301);
    product_equals_the_cpu<Products::kS21>(1, 1, 1, 1000, f, 302);
  }
}

/// The largest level of each scheme at its longest contraction: slices of +-127 above, -64 below.
template <Products P>
void levels_fit(int64_t k) {
  const int64_t top = 127, low = 64;
  const int64_t largest[3] = {top * top, 2 * top * low, (P == Products::kS21 ? 2 * top * low : 0) + low * low};
  int32_t level[Scheme<P>::kLevels][4];
  int64_t expected = 0;
  for (int l = 0; l < Scheme<P>::kLevels; ++l) {
    ASSERT_LE(largest[l] * k, INT32_MAX);
    for (int e = 0; e < 4; ++e) level[l][e] = static_cast<int32_t>(e % 2 == 0 ? largest[l] * k : -largest[l] * k);
    expected = 128 * expected + largest[l] * k;
  }
  for (int e = 0; e < 4; ++e) EXPECT_EQ(joined<P>(level, e), e % 2 == 0 ? expected : -expected);
  // T goes through binary64 on a grid of attention only below 2^53; here it is rounded from int64.
  EXPECT_LT(expected, int64_t{1} << 62);
}

TEST(DeviceMatmul, NoLevelOverflowsAtTheLongestContraction) {
  levels_fit<Products::kP3>(kernels::kMaxContraction);
  levels_fit<Products::kP4>(kernels::kMaxContraction);
  levels_fit<Products::kS21>(kernels::kMaxContraction / 2);
}

}  // namespace
}  // namespace fairway::cuda

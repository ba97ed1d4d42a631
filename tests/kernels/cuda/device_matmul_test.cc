// On a GPU: the exact product gives the CPU's bits, for shapes that divide no tile, adversarial values and the longest contraction.
#include "device_test.h"
#include "kernels/accumulate.h"
#include "kernels/cuda/cublas_matmul.h"
#include "kernels/cuda/matmul.h"
#include "kernels/cuda/start.h"
#include "kernels/matmul.h"

namespace fairway::cuda {
namespace {

using kernels::Products;
using test::Floats;

class DeviceMatmulOnGpu : public test::OnDevice {
 protected:
  void expect_equal(int64_t count, int64_t m, int64_t n, int64_t k, Products products, const Floats& a, const Floats& b) {
    SCOPED_TRACE(std::to_string(count) + " x (" + std::to_string(m) + ", " + std::to_string(n) + ", " + std::to_string(k) + "), products " +
                 std::to_string(static_cast<int>(products)));
    const int bits = kernels::bits_of_products(products);
    kernels::Quantised qa, qb;
    ASSERT_TRUE(kernels::quantise_rows(a.data(), count * m, k, k, bits, qa) && kernels::quantise_rows(b.data(), count * n, k, k, bits, qb));
    Floats expected(static_cast<size_t>(count * m * n));
    kernels::exact_matmul_batched(qa, qb, count, products, expected.data());

    auto on_a = upload(a), on_b = upload(b);
    kernels::Quantised da, db;
    quantise_rows(device(), {on_a.data(), count * m, k, k}, bits, da);
    quantise_rows(device(), {on_b.data(), count * n, k, k}, bits, db);
    auto c = room<float>(count * m * n);
    exact_matmul_batched(device(), da, db, count, products, {c.data(), count * m, n, n});
    EXPECT_TRUE(test::same_bits(expected, download(c)));
    if (count != 1) return;
#if defined(FAIRWAY_WITH_CUBLAS)
    CublasMatmul oracle(device());
    c.zero();
    oracle.exact_matmul(da, db, products, {c.data(), m, n, n});
    EXPECT_TRUE(test::same_bits(expected, download(c))) << "cuBLASLt";
#endif

    const float limit = kernels::term_limit(1);
    std::vector<int64_t> sum(expected.size(), -5);
    auto on_sum = upload(sum);
    exact_matmul_accumulate(device(), da, db, products, limit, {on_sum.data(), m, n, n});
    const bool within = kernels::accumulate(expected.data(), m * n, limit, sum.data());
    EXPECT_EQ(device().take_failure(), within ? 0u : static_cast<uint32_t>(kTooLarge));
    EXPECT_TRUE(!within || test::same_bits(sum, download(on_sum)));
  }
};

TEST_F(DeviceMatmulOnGpu, GivesTheBitsOfTheCpu) {
  uint64_t seed = 0;
  for (Products p : {Products::kP3, Products::kP4, Products::kS21}) {
    for (auto [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {127, 129, 65}, {128, 128, 512}, {300, 1000, 777}, {1024, 512, 512}, {512, 1536, 2048}}) {
      seed += 2;
      expect_equal(1, m, n, k, p, test::gaussian(static_cast<size_t>(m * k), seed), test::student_t3(static_cast<size_t>(n * k), seed + 1));
    }
    expect_equal(5, 100, 37, 150, p, test::gaussian(5 * 100 * 150, 1000), test::gaussian(5 * 37 * 150, 1001));
  }
}

TEST_F(DeviceMatmulOnGpu, EverySliceAtItsLimitGivesTheBitsOfTheCpuUpToTheLongestContraction) {
  for (Products p : {Products::kP3, Products::kP4, Products::kS21}) {
    const int64_t k = p == Products::kS21 ? kernels::kMaxContraction / 2 : kernels::kMaxContraction;
    const float limit = p == Products::kS21 ? 2088895.0f * 0x1p-21f : 16319.0f * 0x1p-14f;
    Floats a(static_cast<size_t>(3 * k), limit), b(static_cast<size_t>(2 * k), limit);
    expect_equal(1, 3, 2, k, p, a, b);
    std::mt19937_64 engine(5);
    for (float& x : b) x = engine() % 2 == 0 ? limit : -limit;
    expect_equal(1, 3, 2, k, p, a, b);
  }
}

TEST_F(DeviceMatmulOnGpu, ZeroRowsAndSubnormalsGiveTheBitsOfTheCpu) {
  for (Products p : {Products::kP3, Products::kP4, Products::kS21}) {
    Floats a = test::gaussian(90 * 200, 1, 0x1p-140f), b = test::gaussian(70 * 200, 2, 0x1p-60f);
    std::fill_n(a.begin() + 200, 400, 0.0f);
    std::fill_n(b.begin(), 200, 0.0f);
    expect_equal(1, 90, 70, 200, p, a, b);
  }
}

TEST_F(DeviceMatmulOnGpu, TwoStreamsAndTwoRunsGiveTheSameBits) {
  const Floats a = test::gaussian(512 * 512, 1), b = test::gaussian(768 * 512, 2);
  Device other;
  std::vector<Floats> results;
  for (Device* d : {&device(), &other, &device()}) {
    DeviceBuffer<float> on_a(*d, "a"), on_b(*d, "b"), c(*d, "c", 512 * 768);
    on_a.upload(a.data(), a.size());
    on_b.upload(b.data(), b.size());
    kernels::Quantised da, db;
    quantise_rows(*d, {on_a.data(), 512, 512, 512}, 14, da);
    quantise_rows(*d, {on_b.data(), 768, 512, 512}, 14, db);
    exact_matmul(*d, da, db, Products::kP3, {c.data(), 512, 768, 768});
    results.push_back(download(c));
  }
  EXPECT_TRUE(test::same_bits(results[0], results[1]));
  EXPECT_TRUE(test::same_bits(results[0], results[2]));
}

}  // namespace
}  // namespace fairway::cuda

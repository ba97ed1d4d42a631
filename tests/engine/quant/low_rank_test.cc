#include "engine/quant/low_rank.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "kernels/cpu/parallel.h"
#include "tests/engine/quant/state_dicts.h"

namespace fairway::quant {
namespace {

std::vector<float> matrix(uint64_t seed, int64_t rows, int64_t columns) {
  return random_tensor({"w", {rows, columns}, FloatFormat::kF32}, seed, 1.0f).values;
}

double squared_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - b[i], 2);
  return sum;
}

TEST(SymmetricEigen, VectorsAreOrthonormalAndSatisfyTheEquation) {
  for (int64_t n : {1, 2, 3, 17, 64}) {
    const auto a = matrix(5, n, n);
    std::vector<double> s(a.size());
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) s[static_cast<size_t>(i * n + j)] = static_cast<double>(a[static_cast<size_t>(i * n + j)]) + a[static_cast<size_t>(j * n + i)];
    }
    const Eigen e = symmetric_eigen(s, n);
    for (int64_t k = 0; k < n; ++k) {
      if (k > 0) EXPECT_GE(e.values[static_cast<size_t>(k - 1)], e.values[static_cast<size_t>(k)]);
      for (int64_t l = 0; l < n; ++l) {
        double dot = 0, applied = 0;
        for (int64_t i = 0; i < n; ++i) {
          dot += e.vectors[static_cast<size_t>(k * n + i)] * e.vectors[static_cast<size_t>(l * n + i)];
          applied += s[static_cast<size_t>(l * n + i)] * e.vectors[static_cast<size_t>(k * n + i)];
        }
        EXPECT_NEAR(dot, k == l ? 1.0 : 0.0, 1e-12);
        EXPECT_NEAR(applied, e.values[static_cast<size_t>(k)] * e.vectors[static_cast<size_t>(k * n + l)], 1e-11 * static_cast<double>(n));
      }
    }
  }
}

TEST(SymmetricEigen, OfAKnownMatrix) {
  const Eigen e = symmetric_eigen({2, 1, 1, 2}, 2);
  EXPECT_NEAR(e.values[0], 3.0, 1e-15);
  EXPECT_NEAR(e.values[1], 1.0, 1e-15);
}

TEST(Factorise, AMatrixOfThatRankComesBack) {
  const auto left = matrix(1, 40, 3), right = matrix(2, 3, 24);
  std::vector<float> product = multiply_factors(left, right, 3);
  const LowRank found = factorise(product, 40, 24, 3);
  EXPECT_LT(squared_distance(product, multiply_factors(found.left, found.right, 3)), 1e-8);
}

TEST(Factorise, TheErrorIsWhatTheSpectrumLeavesAndNoSmallPerturbationIsBetter) {
  const auto values = matrix(7, 60, 20);
  std::vector<double> gram(20 * 20);
  for (size_t r = 0; r < 60; ++r) {
    for (size_t i = 0; i < 20; ++i) {
      for (size_t j = 0; j < 20; ++j) gram[i * 20 + j] += static_cast<double>(values[r * 20 + i]) * values[r * 20 + j];
    }
  }
  const std::vector<double> spectrum = symmetric_eigen(gram, 20).values;
  for (int64_t rank : {1, 5, 12, 20}) {
    const LowRank found = factorise(values, 60, 20, rank);
    const double error = squared_distance(values, multiply_factors(found.left, found.right, rank));
    const double left_out = std::accumulate(spectrum.begin() + rank, spectrum.end(), 0.0);
    EXPECT_NEAR(error, left_out, 1e-6 * (spectrum[0] + left_out));
    for (uint64_t seed = 0; seed < 5; ++seed) {
      auto other = found;
      for (size_t i = 0; i < other.right.size(); ++i) other.right[i] += 1e-3f * num::normal(seed, 1, num::kPurposeInit, i);
      EXPECT_GE(squared_distance(values, multiply_factors(other.left, other.right, rank)), error - 1e-6);
    }
  }
}

TEST(Factorise, ThreadsChangeNoBit) {
  const auto values = matrix(9, 50, 30);
  const int before = kernels::thread_count();
  kernels::set_thread_count(1);
  const LowRank one = factorise(values, 50, 30, 8);
  kernels::set_thread_count(5);
  const LowRank five = factorise(values, 50, 30, 8);
  kernels::set_thread_count(before);
  EXPECT_TRUE(same_bits(one.left, five.left));
  EXPECT_TRUE(same_bits(one.right, five.right));
}

TEST(MultiplyFactors, IsTheProductOfSmallIntegers) {
  EXPECT_EQ(multiply_factors(std::vector<float>{1, 2, 3, 4}, std::vector<float>{5, 6, 7, 8}, 2), (std::vector<float>{19, 22, 43, 50}));
}

}  // namespace
}  // namespace fairway::quant

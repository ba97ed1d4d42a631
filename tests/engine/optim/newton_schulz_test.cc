#include "kernels/newton_schulz.h"

#include <gtest/gtest.h>

#include "tests/engine/optim/newton_schulz64.h"
#include "tests/kernels/support.h"

namespace fairway::optim {
namespace {

using kernels::Products;
using test::Floats;

Floats orthogonalise(Floats u, int64_t rows, int64_t columns, Products products = Products::kS21, int64_t count = 1) {
  kernels::NewtonSchulzScratch scratch;
  EXPECT_TRUE(kernels::newton_schulz(u.data(), count, rows, columns, 5, products, scratch));
  return u;
}

double error_of(const Floats& input, int64_t rows, int64_t columns, Products products = Products::kS21) {
  const Floats found = orthogonalise(input, rows, columns, products);
  const auto expected = test::newton_schulz64({input.begin(), input.end()}, static_cast<size_t>(rows), static_cast<size_t>(columns), 5);
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (found[i] - expected[i]) * (found[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  const double error = std::sqrt(difference / norm);
  if (std::getenv("FAIRWAY_SHOW_ERRORS") != nullptr) std::printf("%ld x %ld: %.3g\n", rows, columns, error);
  return error;
}

TEST(NewtonSchulz, AgreesWithBinary64OnGaussianMatricesOfTheModel) {
  EXPECT_LT(error_of(test::gaussian(256 * 512, 1), 256, 512), 4e-4);
  EXPECT_LT(error_of(test::gaussian(512 * 256, 2, 1e-6f), 512, 256), 4e-4);
  EXPECT_LT(error_of(test::gaussian(256 * 256, 3), 256, 256), 4e-4);
  EXPECT_LT(error_of(test::gaussian(512 * 1536, 4), 512, 1536), 6e-4);
}

TEST(NewtonSchulz, AgreesWithBinary64OnSmallAndOddShapes) {
  for (auto [rows, columns] : {std::pair{1, 1}, {1, 7}, {7, 1}, {3, 5}, {31, 33}, {65, 63}}) {
    EXPECT_LT(error_of(test::gaussian(static_cast<size_t>(rows * columns), 5), rows, columns), 4e-4) << rows << " x " << columns;
  }
}

TEST(NewtonSchulz, FewerProductsAreCoarserButTheSameIteration) {
  const Floats x = test::gaussian(128 * 384, 6);
  const double p3 = error_of(x, 128, 384, Products::kP3), s21 = error_of(x, 128, 384);
  EXPECT_LT(p3, 0.1);
  EXPECT_LT(s21, p3 / 20);
}

TEST(NewtonSchulz, BringsSingularValuesIntoTheirBand) {
  // 256 x 512: Gram matrix of the result, whose eigenvalues are squares of values within [0.66, 1.21]; Gershgorin is too weak, so
  // the Rayleigh quotients of random directions are looked at.
  const Floats x = orthogonalise(test::gaussian(256 * 512, 7), 256, 512);
  for (uint64_t n = 0; n < 20; ++n) {
    const Floats direction = test::gaussian(256, 100 + n);
    double image = 0, length = 0;
    for (size_t c = 0; c < 512; ++c) {
      double dot = 0;
      for (size_t r = 0; r < 256; ++r) dot += static_cast<double>(direction[r]) * x[r * 512 + c];
      image += dot * dot;
    }
    for (float d : direction) length += static_cast<double>(d) * d;
    EXPECT_GT(std::sqrt(image / length), 0.65);
    EXPECT_LT(std::sqrt(image / length), 1.22);
  }
}

TEST(NewtonSchulz, AZeroMatrixStaysZero) {
  for (auto [rows, columns] : {std::pair{64, 96}, {96, 64}, {64, 64}}) {
    const Floats zero(static_cast<size_t>(rows * columns), 0.0f);
    EXPECT_EQ(orthogonalise(zero, rows, columns), zero);
  }
}

TEST(NewtonSchulz, ARankDeficientMatrixKeepsItsRank) {
  // Rank one: u v^T. Its only singular value is 1 after the division and ends at p^5(1) = 0.6964; nothing grows beside it.
  const Floats a = test::gaussian(64, 8), b = test::gaussian(96, 9);
  Floats x(64 * 96);
  for (size_t r = 0; r < 64; ++r) {
    for (size_t c = 0; c < 96; ++c) x[r * 96 + c] = a[r] * b[c];
  }
  EXPECT_LT(error_of(x, 64, 96), 1e-3);
  const Floats y = orthogonalise(x, 64, 96);
  double squares = 0;
  for (float v : y) squares += static_cast<double>(v) * v;
  EXPECT_NEAR(std::sqrt(squares), 0.6964, 1e-3);
  // Two equal rows and a zero row: the zero row stays zero and equal rows stay equal to the bit.
  Floats z = test::gaussian(32 * 48, 10);
  std::copy_n(z.begin(), 48, z.begin() + 48);
  std::fill_n(z.begin() + 96, 48, 0.0f);
  const Floats w = orthogonalise(z, 32, 48);
  EXPECT_TRUE(std::equal(w.begin(), w.begin() + 48, w.begin() + 48));
  for (size_t c = 0; c < 48; ++c) EXPECT_EQ(w[96 + c], 0.0f);
}

TEST(NewtonSchulz, AMatrixAndItsTransposeGiveTransposedBits) {
  const Floats x = test::gaussian(40 * 24, 11);
  Floats t(x.size());
  for (size_t r = 0; r < 40; ++r) {
    for (size_t c = 0; c < 24; ++c) t[c * 40 + r] = x[r * 24 + c];
  }
  const Floats a = orthogonalise(x, 40, 24), b = orthogonalise(t, 24, 40);
  for (size_t r = 0; r < 40; ++r) {
    for (size_t c = 0; c < 24; ++c) ASSERT_EQ(a[r * 24 + c], b[c * 40 + r]);
  }
}

TEST(NewtonSchulz, StackedMatricesAreIndependent) {
  const Floats x = test::gaussian(3 * 16 * 24, 12);
  const Floats together = orthogonalise(x, 16, 24, Products::kS21, 3);
  for (size_t i = 0; i < 3; ++i) {
    const Floats one = orthogonalise({x.begin() + static_cast<std::ptrdiff_t>(i * 384), x.begin() + static_cast<std::ptrdiff_t>((i + 1) * 384)}, 16, 24);
    EXPECT_TRUE(std::equal(one.begin(), one.end(), together.begin() + static_cast<std::ptrdiff_t>(i * 384)));
  }
}

TEST(NewtonSchulz, ANotFiniteValueIsRefused) {
  for (float bad : {NAN, INFINITY}) {
    for (auto [rows, columns] : {std::pair{16, 24}, {24, 16}}) {
      Floats x = test::gaussian(16 * 24, 13);
      x[77] = bad;
      kernels::NewtonSchulzScratch scratch;
      EXPECT_FALSE(kernels::newton_schulz(x.data(), 1, rows, columns, 5, Products::kS21, scratch));
    }
  }
}

TEST(NewtonSchulz, GivesTheSameBitsOnEveryMachine) {
  const Floats x = test::gaussian(96 * 160, 14);
  Floats expected;
  test::on_every_machine([&](const std::string& what) {
    const Floats found = orthogonalise(x, 96, 160);
    if (expected.empty()) expected = found;
    EXPECT_TRUE(found == expected) << what;
  });
}

}  // namespace
}  // namespace fairway::optim

#include "kernels/mud.h"

#include <gtest/gtest.h>

#include "kernels/cpu/wide_form.h"
#include "tests/engine/optim/newton_schulz64.h"
#include "tests/kernels/support.h"

namespace fairway::optim {
namespace {

using kernels::Products;
using test::Floats;
using Doubles = std::vector<double>;

Floats decorrelate(Floats u, int64_t rows, int64_t columns, int64_t passes = 1) {
  kernels::MudScratch scratch;
  EXPECT_TRUE(kernels::mud(u.data(), 1, rows, columns, passes, Products::kS21, scratch));
  return u;
}

/// The map from its formula: row norms, lower triangle of the Gram matrix, forward substitution, row norms.
Doubles mud64(Doubles q, size_t rows, size_t columns, int passes) {
  if (rows > columns) return test::transposed(mud64(test::transposed(q, rows, columns), columns, rows, passes), columns, rows);
  auto normalise = [&] {
    for (size_t r = 0; r < rows; ++r) {
      double square = 0;
      for (size_t c = 0; c < columns; ++c) square += q[r * columns + c] * q[r * columns + c];
      for (size_t c = 0; c < columns; ++c) q[r * columns + c] /= std::sqrt(square) + 1e-7;
    }
  };
  for (int pass = 0; pass < passes; ++pass) {
    normalise();
    const Doubles gram = test::product(q, test::transposed(q, rows, columns), rows, columns, rows);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < columns; ++c) {
        for (size_t s = 0; s < r; ++s) q[r * columns + c] -= gram[r * rows + s] * q[s * columns + c];
        q[r * columns + c] /= gram[r * rows + r] + 1e-6;
      }
    }
    normalise();
  }
  return q;
}

double relative_error(const Floats& found, const Doubles& expected) {
  double difference = 0, norm = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    difference += (found[i] - expected[i]) * (found[i] - expected[i]);
    norm += expected[i] * expected[i];
  }
  return std::sqrt(difference / norm);
}

TEST(Mud, AgreesWithBinary64) {
  for (auto [rows, columns] : {std::pair{1, 1}, {1, 7}, {7, 1}, {3, 5}, {31, 33}, {65, 63}, {128, 384}, {96, 40}}) {
    for (int passes : {1, 2}) {
      const Floats x = test::gaussian(static_cast<size_t>(rows * columns), 5);
      const auto expected = mud64({x.begin(), x.end()}, static_cast<size_t>(rows), static_cast<size_t>(columns), passes);
      EXPECT_LT(relative_error(decorrelate(x, rows, columns, passes), expected), 3e-5) << rows << " x " << columns << ", " << passes;
    }
  }
}

TEST(Mud, BringsRowsCloserToOrthonormalWithEveryPass) {
  auto distance = [](const Floats& q) {
    const Doubles d(q.begin(), q.end());
    Doubles gram = test::product(d, test::transposed(d, 48, 160), 48, 160, 48);
    double sum = 0;
    for (size_t i = 0; i < gram.size(); ++i) sum += (gram[i] - (i % 49 == 0)) * (gram[i] - (i % 49 == 0));
    return std::sqrt(sum);
  };
  const Floats x = test::gaussian(48 * 160, 6);
  const double one = distance(decorrelate(x, 48, 160, 1)), two = distance(decorrelate(x, 48, 160, 2)), six = distance(decorrelate(x, 48, 160, 6));
  EXPECT_LT(two, one);
  EXPECT_LT(six, 1e-4);
  // Orthonormal rows are a fixed point.
  const Floats fixed = decorrelate(x, 48, 160, 6), again = decorrelate(fixed, 48, 160, 1);
  EXPECT_LT(relative_error(again, {fixed.begin(), fixed.end()}), 1e-4);
}

TEST(Mud, ZeroRowsAndZeroMatricesStayZero) {
  const Floats zero(64 * 96, 0.0f);
  EXPECT_EQ(decorrelate(zero, 64, 96), zero);
  EXPECT_EQ(decorrelate(zero, 96, 64), zero);
  Floats x = test::gaussian(32 * 48, 10);
  std::fill_n(x.begin() + 96, 48, 0.0f);
  const Floats y = decorrelate(x, 32, 48);
  for (size_t c = 0; c < 48; ++c) EXPECT_EQ(y[96 + c], 0.0f);
}

TEST(Mud, AMatrixAndItsTransposeGiveTransposedBits) {
  const Floats x = test::gaussian(40 * 24, 11);
  Floats t(x.size());
  kernels::transpose(x.data(), 40, 24, t.data());
  const Floats a = decorrelate(x, 40, 24), b = decorrelate(t, 24, 40);
  for (size_t r = 0; r < 40; ++r) {
    for (size_t c = 0; c < 24; ++c) ASSERT_EQ(a[r * 24 + c], b[c * 40 + r]);
  }
}

TEST(Mud, ANotFiniteValueIsRefused) {
  for (float bad : {NAN, INFINITY}) {
    Floats x = test::gaussian(16 * 24, 13);
    x[77] = bad;
    kernels::MudScratch scratch;
    EXPECT_FALSE(kernels::mud(x.data(), 1, 16, 24, 1, Products::kS21, scratch));
  }
}

TEST(Mud, GivesTheSameBitsOnEveryMachine) {
  const Floats x = test::gaussian(70 * 160, 14);
  Floats expected;
  test::on_every_machine([&](const std::string& what) {
    const Floats found = decorrelate(x, 70, 160);
    if (expected.empty()) expected = found;
    EXPECT_TRUE(found == expected) << what;
  });
}

}  // namespace
}  // namespace fairway::optim

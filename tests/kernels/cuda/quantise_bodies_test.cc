// The quantiser's device bodies under a simulated grid: the CPU's bits, no race, nothing outside memory.
#include <gtest/gtest.h>

#include "../support.h"
#include "device_matrix.h"
#include "kernels/cuda/bodies/quantise.h"
#include "kernels/matmul.h"

namespace fairway::cuda {
namespace {

using test::Floats;
using test::Simulation;

/// Rows that are hard: subnormals, zeros, one large among small, values at the limit and half-way cases.
Floats hard_values(int64_t rows, int64_t columns, uint64_t seed) {
  std::mt19937_64 engine(seed);
  Floats x(static_cast<size_t>(rows * columns));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      float& v = x[static_cast<size_t>(r * columns + c)];
      const float sign = engine() % 2 == 0 ? 1.0f : -1.0f;
      switch (r % 6) {
        case 0: v = test::random_finite(engine); break;
        case 1: v = 0.0f; break;
        case 2: v = sign * num::float_of(static_cast<uint32_t>(engine() % 0x00800000u)); break;
        case 3: v = sign * 0x1.fep-1f; break;
        case 4: v = sign * (static_cast<float>(engine() % 16384) + 0.5f); break;
        default: v = sign * num::pow2_f32(static_cast<int32_t>(engine() % 40) - 20); break;
      }
    }
  }
  return x;
}

template <int kBits>
void rows_and_columns_equal_the_cpu(int64_t rows, int64_t columns, uint64_t seed) {
  SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns) + ", " + std::to_string(kBits) + " bits");
  const int64_t ld = columns + static_cast<int64_t>(seed % 3);
  const Floats x = hard_values(rows, ld, seed);
  kernels::Quantised expected;
  {
    ASSERT_TRUE(kernels::quantise_rows(x.data(), rows, columns, ld, kBits, expected));
    test::SliceMemory out(rows, columns, kBits);
    std::vector<uint32_t> failure(1, 0);
    Simulation s(seed);
    s.launch(QuantiseRows<kBits>{{s.input(x), rows, columns, ld}, out.declare(s), s.inout(failure)});
    ASSERT_EQ(s.problem(), "");
    EXPECT_EQ(failure[0], 0u);
    out.expect_equal(expected);
  }
  ASSERT_TRUE(kernels::quantise_columns(x.data(), rows, columns, ld, kBits, expected));
  test::SliceMemory out(columns, rows, kBits);
  std::vector<uint32_t> failure(1, 0), maxima(static_cast<size_t>(columns), 0);
  Simulation s(seed + 1);
  const Matrix<const float> m{s.input(x), rows, columns, ld};
  s.launch(ColumnMaxima{m, s.inout(maxima)});
  s.launch(QuantiseColumns<kBits>{m, maxima.data(), out.declare(s), s.inout(failure)});
  ASSERT_EQ(s.problem(), "");
  EXPECT_EQ(failure[0], 0u);
  out.expect_equal(expected);
}

TEST(DeviceQuantiser, GivesTheBitsOfTheCpuForEveryShapeAndValue) {
  uint64_t seed = 1;
  for (int64_t rows : {1, 7, 64, 131}) {
    for (int64_t columns : {1, 5, 64, 130, 300}) {
      rows_and_columns_equal_the_cpu<7>(rows, columns, ++seed);
      rows_and_columns_equal_the_cpu<14>(rows, columns, ++seed);
      rows_and_columns_equal_the_cpu<21>(rows, columns, ++seed);
    }
  }
}

TEST(DeviceQuantiser, ReportsAValueThatIsNotFinite) {
  for (uint32_t bits : {0x7f800000u, 0xff800000u, 0x7fc00000u}) {
    Floats x(5 * 70, 1.0f);
    x[3 * 70 + 69] = num::float_of(bits);
    std::vector<uint32_t> failure(1, 0), maxima(70, 0);
    test::SliceMemory rows(5, 70, 14), columns(70, 5, 14);
    Simulation s(bits);
    const Matrix<const float> m{s.input(x), 5, 70, 70};
    uint32_t* flag = s.inout(failure);
    s.launch(QuantiseRows<14>{m, rows.declare(s), flag});
    EXPECT_EQ(failure[0], static_cast<uint32_t>(kNotFinite));
    failure[0] = 0;
    s.launch(ColumnMaxima{m, s.inout(maxima)});
    s.launch(QuantiseColumns<14>{m, maxima.data(), columns.declare(s), flag});
    EXPECT_EQ(failure[0], static_cast<uint32_t>(kNotFinite));
    EXPECT_EQ(s.problem(), "");
  }
}

}  // namespace
}  // namespace fairway::cuda

// The quantiser (N4) against an independent definition: frexp, ldexp and nearbyint in binary64.
#include "kernels/num/quantise.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>

#include "definitions.h"
#include "kernels/matmul.h"
#include "support.h"

namespace fairway::kernels {
namespace {

using test::Floats;

constexpr int kSlicedBits[] = {7, 14, 21};

/// Row r of the matrix as integers, put together again from the slices.
std::vector<int64_t> recombined(Quantised& m, int64_t r) {
  std::vector<int64_t> q(static_cast<size_t>(m.columns()), 0);
  for (int s = 0; s < slices_of_bits(m.bits()); ++s) {
    for (int64_t k = 0; k < m.columns(); ++k)
      q[static_cast<size_t>(k)] = q[static_cast<size_t>(k)] * 128 + m.plane(s)[r * m.stride() + k];
  }
  return q;
}

/// Quantises x (rows, columns) and compares exponents, integers, ranges of the slices and the zero padding.
::testing::AssertionResult equals_definition(const Floats& x, int64_t rows, int64_t columns, int bits) {
  Quantised m;
  if (!quantise_rows(x.data(), rows, columns, columns, bits, m))
    return ::testing::AssertionFailure() << "reported as not finite";
  if (m.rows() != rows || m.columns() != columns || m.bits() != bits)
    return ::testing::AssertionFailure() << "wrong shape";
  for (int64_t r = 0; r < rows; ++r) {
    const test::Group expected(&x[static_cast<size_t>(r * columns)], columns, 1, bits);
    if (m.exponents()[r] != expected.exponent) {
      return ::testing::AssertionFailure() << "row " << r << ": exponent " << m.exponents()[r] << ", expected "
                                           << expected.exponent << " at " << bits << " bits";
    }
    const std::vector<int64_t> q = recombined(m, r);
    for (int64_t k = 0; k < columns; ++k) {
      const int64_t want = expected.q[static_cast<size_t>(k)];
      if (q[static_cast<size_t>(k)] != want) {
        return ::testing::AssertionFailure() << "row " << r << ", column " << k << ": " << q[static_cast<size_t>(k)]
                                             << ", expected " << want << " at " << bits << " bits";
      }
      if (std::abs(want) > test::limit_of(bits))
        return ::testing::AssertionFailure() << "the definition leaves its limit: " << want;
    }
    for (int s = 0; s < slices_of_bits(bits); ++s) {
      for (int64_t k = 0; k < m.stride(); ++k) {
        const int v = m.plane(s)[r * m.stride() + k];
        if (k >= columns && v != 0) return ::testing::AssertionFailure() << "padding is not zero";
        if (s == 0 ? v < -127 || v > 127 : v < -64 || v > 63)
          return ::testing::AssertionFailure() << "slice " << s << " out of range: " << v;
      }
    }
  }
  return ::testing::AssertionSuccess();
}

/// Under every instruction set.
void expect_definition(const Floats& x, int64_t rows, int64_t columns, int bits) {
  test::Machine restore;
  for (Isa isa : test::available_sets()) {
    set_isa(isa);
    EXPECT_TRUE(equals_definition(x, rows, columns, bits)) << isa_name(isa);
  }
}

TEST(Quantiser, EqualsTheDefinitionForAwkwardSizes) {
  for (int bits : kSlicedBits) {
    for (int64_t rows : {1, 2, 63, 65}) {
      for (int64_t columns : {1, 2, 15, 17, 63, 64, 65, 200}) {
        expect_definition(test::student_t3(static_cast<size_t>(rows * columns), static_cast<uint64_t>(columns)), rows,
                          columns, bits);
      }
    }
  }
}

TEST(Quantiser, EqualsTheDefinitionForEveryExponent) {
  for (int bits : kSlicedBits) {
    Floats x;
    int64_t rows = 0;
    for (int e = -149; e <= 127; ++e, ++rows) {
      for (float v : test::gaussian(20, static_cast<uint64_t>(e + 200), 0.3f))
        x.push_back(std::ldexp(std::fmin(std::fmax(v, -0.99f), 0.99f), e));
      x.back() = std::ldexp(1.0f, e);
    }
    expect_definition(x, rows, 20, bits);
  }
}

TEST(Quantiser, EveryMaximumNearTheLimitGetsTheRightExponent) {
  // max = f * 2^E where rint(f * 2^b) crosses the limit: the floats around (limit + 1/2) / 2^b, and around 1.
  for (int bits : kSlicedBits) {
    for (int e : {-101, -100, -99, -1, 0, 1, 60, 127}) {
      Floats x;
      int64_t rows = 0;
      const float edges[] = {
          static_cast<float>((static_cast<double>(test::limit_of(bits)) + 0.5) / std::ldexp(1.0, bits)),
          static_cast<float>(static_cast<double>(test::limit_of(bits)) / std::ldexp(1.0, bits)), 1.0f, 0.5f};
      for (float edge : edges) {
        float f = edge;
        for (int i = 0; i < 8; ++i) f = std::nextafter(f, 0.0f);
        for (int i = 0; i < 17; ++i, f = std::nextafter(f, 2.0f)) {
          const float max = std::ldexp(f, e);
          if (!std::isfinite(max)) continue;
          for (float v : {max, -max, max / 3.0f, 0.0f, std::ldexp(1.5f, e - bits)}) x.push_back(v);
          ++rows;
        }
      }
      expect_definition(x, rows, 5, bits);
    }
  }
}

TEST(Quantiser, MaximumRoundingBeyondTheLimitTakesTheNextExponent) {
  // 16319.5 rounds to the even 16320, one too many for 14 bits; 16319.49 does not.
  Floats x = {16319.5f, 16319.25f};
  Quantised m;
  ASSERT_TRUE(quantise_rows(x.data(), 2, 1, 1, 14, m));
  EXPECT_EQ(m.exponents()[0], 15);
  EXPECT_EQ(recombined(m, 0)[0], 8160);
  EXPECT_EQ(m.exponents()[1], 14);
  EXPECT_EQ(recombined(m, 1)[0], 16319);
}

TEST(Quantiser, TiesGoToEven) {
  Floats x = {8192.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 0.75f};
  Quantised m;
  ASSERT_TRUE(quantise_rows(x.data(), 1, 8, 8, 14, m));
  EXPECT_EQ(m.exponents()[0], 14);
  const std::vector<int64_t> expected = {8192, 0, 2, 2, 0, -2, -2, 1};
  EXPECT_EQ(recombined(m, 0), expected);
}

TEST(Quantiser, ZeroAndTinyGroupsHaveTheSmallestExponent) {
  for (int bits : kSlicedBits) {
    Floats x = {0.0f,      -0.0f,     0x1p-149f, -0x1p-149f,       0x1p-126f,
                0x1p-127f, 0x1p-101f, 0x1p-102f, 0x1.fffffep-101f, 0x1p-110f};
    expect_definition(x, 5, 2, bits);
    Quantised m;
    ASSERT_TRUE(quantise_rows(x.data(), 5, 2, 2, bits, m));
    for (int r = 0; r < 3; ++r) {
      EXPECT_EQ(m.exponents()[r], -100);
      EXPECT_EQ(recombined(m, r), (std::vector<int64_t>{0, 0})) << "row " << r << " at " << bits << " bits";
    }
  }
}

TEST(Quantiser, ReportsWhatIsNotFiniteWhereverItStands) {
  for (int bits : kSlicedBits) {
    for (float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::quiet_NaN(),
                      std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
      for (size_t at : {size_t{0}, size_t{64}, size_t{3 * 130 + 129}, size_t{99 * 130 + 77}}) {
        Floats x = test::gaussian(100 * 130, 1);
        x[at] = bad;
        test::Machine restore;
        for (Isa isa : test::available_sets()) {
          set_isa(isa);
          Quantised m;
          EXPECT_FALSE(quantise_rows(x.data(), 100, 130, 130, bits, m)) << bad << " at " << at;
          EXPECT_FALSE(quantise_columns(x.data(), 100, 130, 130, bits, m)) << bad << " at " << at;
        }
      }
    }
  }
}

RC_GTEST_PROP(QuantiserProperty, EqualsTheDefinitionForAnyFiniteBits, ()) {
  const int bits = *rc::gen::element(7, 14, 21);
  const int64_t columns = *rc::gen::inRange(1, 100);
  std::mt19937_64 engine(*rc::gen::arbitrary<uint32_t>());
  Floats x(static_cast<size_t>(3 * columns));
  for (float& v : x) v = test::random_finite(engine);
  test::Machine restore;
  for (Isa isa : test::available_sets()) {
    set_isa(isa);
    RC_ASSERT(equals_definition(x, 3, columns, bits));
  }
}

RC_GTEST_PROP(QuantiserProperty, SlicesOfEveryIntegerRecombineWithinTheirRanges, ()) {
  const int bits = *rc::gen::element(14, 21);
  const int64_t limit = test::limit_of(bits);
  const auto q = static_cast<int32_t>(*rc::gen::inRange<int64_t>(-limit, limit + 1));
  int32_t rest = q, value = 0, weight = 1;
  for (int s = 1; s < bits / 7; ++s, weight *= 128) {
    const int32_t low = num::low_slice(rest);
    RC_ASSERT(low >= -64 && low <= 63);
    value += low * weight;
    rest = num::upper_part(rest);
  }
  RC_ASSERT(rest >= -127 && rest <= 127);
  RC_ASSERT(value + rest * weight == q);
}

TEST(Quantiser, TheLimitsAreTheLargestIntegersTheSlicesHold) {
  EXPECT_EQ(num::quantiser_limit(7), 127);
  EXPECT_EQ(num::quantiser_limit(14), 127 * 128 + 63);
  EXPECT_EQ(num::quantiser_limit(21), (127 * 128 + 63) * 128 + 63);
  EXPECT_EQ(num::quantiser_limit(24), (1 << 24) - 1);
}

TEST(Quantiser, TwentyFourBitsEqualTheDefinition) {
  std::mt19937_64 engine(2);
  for (int round = 0; round < 300000; ++round) {
    Floats x(4);
    for (float& v : x) v = test::random_finite(engine);
    if (round % 2 == 0) {
      for (float& v : x)
        v = std::ldexp(v / std::ldexp(1.0f, std::ilogb(v == 0.0f ? 1.0f : v)), static_cast<int>(engine() % 30) - 110);
    }
    if (round % 3 == 0)
      x[0] = std::ldexp(1.0f - static_cast<float>(engine() % 4) * 0x1p-24f, static_cast<int>(engine() % 240) - 120);
    uint32_t max = 0;
    for (float v : x) max = std::max(max, num::magnitude_bits(v));
    const test::Group expected(x.data(), 4, 1, 24);
    ASSERT_EQ(num::group_exponent(max, 24), expected.exponent);
    const float scale = num::quantiser_scale(expected.exponent, 24);
    for (size_t i = 0; i < 4; ++i) ASSERT_EQ(num::quantise24(x[i], scale), expected.q[i]) << x[i];
  }
}

TEST(QuantiseColumns, EqualsTheRowsOfTheTranspose) {
  for (int bits : kSlicedBits) {
    for (int64_t rows : {1, 2, 63, 64, 65, 130}) {
      for (int64_t columns : {1, 3, 63, 64, 65, 129}) {
        const int64_t ld = columns + 5;
        const Floats x = test::student_t3(static_cast<size_t>(rows * ld), static_cast<uint64_t>(rows * 1000 + columns));
        Floats transpose(static_cast<size_t>(rows * columns));
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t c = 0; c < columns; ++c)
            transpose[static_cast<size_t>(c * rows + r)] = x[static_cast<size_t>(r * ld + c)];
        }
        Quantised expected;
        ASSERT_TRUE(quantise_rows(transpose.data(), columns, rows, rows, bits, expected));
        test::on_every_machine([&](const std::string& machine) {
          Quantised got;
          ASSERT_TRUE(quantise_columns(x.data(), rows, columns, ld, bits, got));
          ASSERT_EQ(got.rows(), columns);
          ASSERT_EQ(got.columns(), rows);
          ASSERT_EQ(got.stride(), expected.stride());
          EXPECT_EQ(std::memcmp(got.exponents(), expected.exponents(), static_cast<size_t>(columns) * 4), 0) << machine;
          for (int s = 0; s < slices_of_bits(bits); ++s) {
            EXPECT_EQ(std::memcmp(got.plane(s), expected.plane(s), static_cast<size_t>(columns * got.stride())), 0)
                << machine << ", " << rows << " x " << columns << ", " << bits << " bits, slice " << s;
          }
        });
        if (HasFailure()) return;
      }
    }
  }
}

TEST(Quantiser, TheRowStrideMayExceedTheColumns) {
  const Floats x = test::gaussian(10 * 50, 3);
  Floats packed;
  for (size_t r = 0; r < 10; ++r)
    packed.insert(packed.end(), x.begin() + static_cast<std::ptrdiff_t>(r * 50),
                  x.begin() + static_cast<std::ptrdiff_t>(r * 50 + 33));
  Quantised a, b;
  ASSERT_TRUE(quantise_rows(x.data(), 10, 33, 50, 14, a) && quantise_rows(packed.data(), 10, 33, 33, 14, b));
  for (int64_t r = 0; r < 10; ++r) EXPECT_EQ(recombined(a, r), recombined(b, r));
}

}  // namespace
}  // namespace fairway::kernels

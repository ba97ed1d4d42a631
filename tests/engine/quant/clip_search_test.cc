/// Row methods against a straightforward reference: every candidate by sorting and __float128 sums.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>

#include "engine/quant/row_quantiser.h"
#include "kernels/cpu/parallel.h"
#include "tests/engine/quant/state_dicts.h"

namespace fairway::quant {
namespace {

constexpr float kWide[] = {0.9f, 0.95f, 0.99f, 0.999f, 0.99999f};
constexpr float kNarrow[] = {0.999f, 0.9995f, 0.9999f, 0.99999f, 1.0f};

struct Reference {
  std::vector<int> integers;
  std::vector<float> divisors;
  std::vector<uint16_t> bits;
  std::vector<long double> errors;  // per row
};

float half(float x) { return num::from_fp16_bits(num::to_fp16_bits(x)); }

Reference quantise_simply(const std::vector<float>& values, int64_t rows, int limit, float p, bool rounded, bool floor) {
  Reference out;
  const size_t columns = values.size() / static_cast<size_t>(rows);
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
    std::vector<float> row(values.begin() + static_cast<int64_t>(r * columns),
                           values.begin() + static_cast<int64_t>((r + 1) * columns));
    const float clip = absolute_quantile(row, p);  // checked against sorting in row_quantiser_test
    float scale = std::max(clip / static_cast<float>(limit), floor ? 1.0f / static_cast<float>(limit) : 0x1p-24f);
    out.bits.push_back(num::to_fp16_bits(scale));
    if (rounded) scale = half(scale);
    out.divisors.push_back(scale);
    long double error = 0;
    for (float x : row) {
      const float clamped = rounded ? x : std::min(std::max(x, -clip), clip);
      const float q = std::min(std::max(std::nearbyintf(clamped / scale), -static_cast<float>(limit)), static_cast<float>(limit));
      out.integers.push_back(static_cast<int>(q));
      const float d = x - q * scale;
      error += static_cast<long double>(d) * d;
    }
    out.errors.push_back(error);
  }
  return out;
}

RowMethod search(std::span<const float> candidates, bool for_all, bool rounded) {
  RowMethod method;
  method.candidates.assign(candidates.begin(), candidates.end());
  method.one_for_all_rows = for_all;
  method.rounded_scale = rounded;
  return method;
}

std::vector<float> matrix(uint64_t seed, int64_t rows, int64_t columns, float deviation) {
  auto values = random_tensor({"w", {rows, columns}, FloatFormat::kF32}, seed, deviation).values;
  for (size_t i = 0; i < values.size(); i += 97) values[i] *= 5.0f;  // outliers make the candidates differ
  return values;
}

TEST(ClipSearch, PerRowItIsTheLeastErrorOfTheReference) {
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const int64_t rows = 9, columns = 64 + 200 * static_cast<int64_t>(seed % 3);
    const auto values = matrix(seed, rows, columns, seed % 2 == 0 ? 1.5f : 0.05f);
    const auto found = quantise_rows("w", values, rows, columns, 31, search(kWide, false, false));
    ASSERT_TRUE(found) << found.error().message();
    std::vector<Reference> candidates;
    for (float p : kWide) candidates.push_back(quantise_simply(values, rows, 31, p, false, true));
    for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
      size_t best = 0;
      for (size_t c = 1; c < candidates.size(); ++c) {
        if (candidates[c].errors[r] < candidates[best].errors[r]) best = c;
      }
      EXPECT_EQ(found->scale_bits[r], candidates[best].bits[r]) << "seed " << seed << " row " << r;
      for (size_t i = r * static_cast<size_t>(columns); i < (r + 1) * static_cast<size_t>(columns); ++i) {
        ASSERT_EQ(found->integers[i], candidates[best].integers[i]);
      }
    }
  }
}

TEST(ClipSearch, PerMatrixOneCandidateServesAllRows) {
  for (uint64_t seed = 0; seed < 12; ++seed) {
    const int64_t rows = 16, columns = 300;
    const auto values = matrix(seed, rows, columns, 0.8f);
    const auto found = quantise_rows("w", values, rows, columns, 31, search(kNarrow, true, true));
    ASSERT_TRUE(found);
    size_t best = 0;
    std::vector<Reference> candidates;
    std::vector<long double> totals;
    for (float p : kNarrow) {
      candidates.push_back(quantise_simply(values, rows, 31, p, true, true));
      long double total = 0;
      for (long double e : candidates.back().errors) total += e;
      totals.push_back(total);
      if (total < totals[best]) best = totals.size() - 1;
    }
    EXPECT_EQ(found->scale_bits, candidates[best].bits) << "seed " << seed;
    EXPECT_TRUE(std::equal(found->integers.begin(), found->integers.end(), candidates[best].integers.begin()));
  }
}

TEST(ClipSearch, WhereTheFloorBindsForAllCandidatesTheFirstWins) {
  const auto values = matrix(3, 8, 128, 0.01f);
  const auto searched = quantise_rows("w", values, 8, 128, 31, search(kNarrow, true, true));
  RowMethod first(kNarrow[0]);
  first.rounded_scale = true;
  const auto fixed = quantise_rows("w", values, 8, 128, 31, first);
  ASSERT_TRUE(searched && fixed);
  EXPECT_EQ(searched->integers, fixed->integers);
  EXPECT_EQ(searched->scale_bits, std::vector<uint16_t>(8, num::to_fp16_bits(1.0f / 31.0f)));
}

TEST(ClipSearch, WithoutTheFloorSmallRowsUseAllIntegers) {
  const auto values = matrix(5, 4, 256, 0.01f);
  RowMethod method(1.0f);
  method.rounded_scale = true;
  method.scale_floor = false;
  const auto fine = quantise_rows("w", values, 4, 256, 31, method);
  method.scale_floor = true;
  const auto coarse = quantise_rows("w", values, 4, 256, 31, method);
  ASSERT_TRUE(fine && coarse);
  auto largest = [](const QuantisedMatrix& m) { return *std::max_element(m.integers.begin(), m.integers.end()); };
  EXPECT_GE(largest(*fine), 25);
  EXPECT_LE(largest(*coarse), 3);
}

TEST(ClipSearch, ARowOfZerosHasAPositiveScaleAndNoIntegers) {
  const std::vector<float> zeros(64);
  RowMethod method(1.0f);
  method.scale_floor = false;
  for (bool rounded : {false, true}) {
    method.rounded_scale = rounded;
    const auto found = quantise_rows("w", zeros, 2, 32, 31, method);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->scale_bits, (std::vector<uint16_t>{1, 1}));
    EXPECT_EQ(found->integers, std::vector<int8_t>(64));
  }
}

TEST(ClipSearch, RoundedScalesStayWithinTheLimit) {
  rc::check("|q| <= limit and |x - deq| <= s/2 inside the clip", [] {
    const auto seed = *rc::gen::inRange<uint64_t>(0, 1u << 30);
    const int limit = *rc::gen::element(1, 15, 31, 63, 127);
    const auto values = matrix(seed, 3, 50, *rc::gen::element(0.001f, 0.3f, 30.0f));
    RowMethod method(1.0f);
    method.rounded_scale = true;
    method.scale_floor = *rc::gen::arbitrary<bool>();
    const auto found = quantise_rows("w", values, 3, 50, limit, method);
    RC_ASSERT(static_cast<bool>(found));
    for (size_t i = 0; i < values.size(); ++i) {
      const float s = num::from_fp16_bits(found->scale_bits[i / 50]);
      RC_ASSERT(std::abs(int{found->integers[i]}) <= limit);
      // The rounding of s to binary16 may leave the row's maximum up to 2^-11 of itself outside (more for subnormals).
      RC_ASSERT(std::fabs(values[i] - static_cast<float>(found->integers[i]) * s) <=
                s * (0.5f + static_cast<float>(limit) * 0x1p-11f) + 31.0f * 0x1p-25f);
    }
  });
}

TEST(ClipSearch, ThreadsChangeNoBit) {
  const auto values = matrix(11, 40, 200, 1.0f);
  const int before = kernels::thread_count();
  std::vector<QuantisedMatrix> results;
  for (int threads : {1, 2, 3, 7}) {
    kernels::set_thread_count(threads);
    for (bool for_all : {false, true}) {
      auto found = quantise_rows("w", values, 40, 200, 31, search(kWide, for_all, for_all));
      ASSERT_TRUE(found);
      results.push_back(std::move(*found));
    }
  }
  kernels::set_thread_count(before);
  for (size_t i = 2; i < results.size(); ++i) {
    EXPECT_EQ(results[i].integers, results[i % 2].integers);
    EXPECT_EQ(results[i].scale_bits, results[i % 2].scale_bits);
  }
}

TEST(RowDeviation, IsTheUnbiasedOneToSevenDigits) {
  for (int64_t n : {2, 3, 512, 1536, 16384}) {
    for (float size : {1e-30f, 0.02f, 1e10f}) {
      const auto row = random_tensor({"r", {n}, FloatFormat::kF32}, 4, size).values;
      long double mean = 0, squares = 0;
      for (float x : row) mean += x;
      mean /= static_cast<long double>(n);
      for (float x : row) squares += (x - mean) * (x - mean);
      const double expected = static_cast<double>(sqrtl(squares / static_cast<long double>(n - 1)));
      // b = 24 rounds each value to 2^-24 of the row's power of two; for groups below 2^-100 to 2^-124.
      EXPECT_NEAR(row_deviation(row), expected, expected * 1e-6) << n << " values of " << size;
    }
  }
  EXPECT_EQ(row_deviation(std::vector<float>{3.0f, 3.0f, 3.0f}), 0.0f);
}

TEST(RowDeviation, SetsTheClip) {
  const auto values = matrix(2, 3, 400, 0.05f);
  RowMethod method;
  method.deviations = 12.85f;
  method.rounded_scale = true;
  method.scale_floor = false;
  const auto found = quantise_rows("w", values, 3, 400, 31, method);
  ASSERT_TRUE(found);
  for (size_t r = 0; r < 3; ++r) {
    const float deviation = row_deviation(std::span(values).subspan(r * 400, 400));
    EXPECT_EQ(found->scale_bits[r], num::to_fp16_bits(12.85f * deviation / 31.0f));
  }
  EXPECT_FALSE(quantise_rows("w", std::vector<float>(3), 3, 1, 31, method));
}

}  // namespace
}  // namespace fairway::quant

#include "engine/quant/row_quantiser.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/endian.h"
#include "engine/base/sha256.h"
#include "kernels/fake_quantise.h"
#include "tests/engine/quant/state_dicts.h"

namespace fairway::quant {
namespace {

// An independent text of the quantile rule: sorts, and evaluates the last step in 113 bits, where products and sums of
// binary32 numbers of similar size are exact, so that the conversion is the only rounding.
float quantile_by_sorting(std::vector<float> row, float p) {
  for (float& x : row) x = std::fabs(x);
  std::sort(row.begin(), row.end());
  float r = p * static_cast<float>(row.size() - 1);
  float low = std::floor(r);
  float weight = r - low;
  float a = row[static_cast<size_t>(low)];
  float b = row[static_cast<size_t>(std::ceil(r))];
  float difference = b - a;
  if (weight < 0.5f) return static_cast<float>(static_cast<__float128>(weight) * difference + a);
  float rest = 1.0f - weight;
  return static_cast<float>(static_cast<__float128>(b) - static_cast<__float128>(rest) * difference);
}

// Values within 2^-20 .. 2^20, where the 113 bits above are exact.
std::vector<float> random_row(uint64_t seed, int64_t count, float deviation) {
  return random_tensor({"row", {count}, FloatFormat::kF32}, seed, deviation).values;
}

float half(float x) { return num::from_fp16_bits(num::to_fp16_bits(x)); }

/// PR 65's fake quantiser on `rows` rows.
bool fake_quantised(const std::vector<float>& w, int64_t rows, std::vector<float>& out) {
  const int64_t columns = static_cast<int64_t>(w.size()) / rows;
  return kernels::fake_quantise_rows(w.data(), rows, columns, ops::FakeForm::kInt6Row, out.data());
}

TEST(QuantilePosition, ForRowsOf512ItIsThePublishedNumber) {
  QuantilePosition position = quantile_position(kExportQuantile, 512);
  EXPECT_EQ(position.low, 510);
  EXPECT_EQ(position.high, 511);
  EXPECT_NEAR(510 + position.weight, 510.99918, 1e-5);
}

TEST(QuantilePosition, AtTheEndsItTakesTheEnds) {
  EXPECT_EQ(quantile_position(0.0f, 100).high, 0);
  EXPECT_EQ(quantile_position(1.0f, 100).low, 99);
  EXPECT_EQ(quantile_position(1.0f, 100).high, 99);
  EXPECT_EQ(quantile_position(kExportQuantile, 1).high, 0);
  QuantilePosition longest = quantile_position(1.0f, kMaxRowLength);
  EXPECT_EQ(longest.high, kMaxRowLength - 1);
}

TEST(AbsoluteQuantile, IsTheExactComputationBitForBit) {
  for (int64_t count : {1, 2, 3, 15, 16, 17, 31, 64, 127, 512, 1000, 1536, 4096}) {
    for (float p : {0.0f, 0.25f, 0.5f, 0.9f, 0.95f, 0.999f, 0.99999f, kExportQuantile, 1.0f}) {
      for (uint64_t seed = 0; seed < 20; ++seed) {
        std::vector<float> row = random_row(seed, count, seed % 2 == 0 ? 0.05f : 3.0f);
        EXPECT_EQ(num::bits_of(absolute_quantile(row, p)), num::bits_of(quantile_by_sorting(row, p)))
            << count << " values, p = " << p << ", seed " << seed;
      }
    }
  }
}

TEST(AbsoluteQuantile, BothBranchesOfTheInterpolationOccurAndRoundOnce) {
  // weight < 1/2: 1 + weight * 2^-23 style cases, where an unfused multiply-add would round twice.
  bool fused_matters = false;
  for (uint64_t i = 0; i < 20000; ++i) {
    float low = 1.0f + num::uniform(1, 0, 1, i);
    float high = low + num::uniform(2, 0, 1, i);
    float weight = num::uniform(3, 0, 1, i);
    float difference = high - low;
    float fused = interpolate_quantile(low, high, weight);
    float exact = weight < 0.5f ? static_cast<float>(static_cast<__float128>(weight) * difference + low)
                                : static_cast<float>(high - static_cast<__float128>(1.0f - weight) * difference);
    volatile float product = weight < 0.5f ? weight * difference : (1.0f - weight) * difference;
    float unfused = weight < 0.5f ? low + product : high - product;
    ASSERT_EQ(fused, exact) << i;
    fused_matters = fused_matters || fused != unfused;
  }
  EXPECT_TRUE(fused_matters) << "the test would not notice a missing fma";
}

TEST(AbsoluteQuantile, OrderAndSignsOfTheRowChangeNoBit) {
  rc::check("a shuffled row with other signs has the same quantile", [] {
    auto seed = *rc::gen::inRange<uint64_t>(0, 1u << 30);
    auto count = *rc::gen::inRange<int64_t>(1, 300);
    auto step = *rc::gen::inRange<size_t>(1, 300);
    float p = *rc::gen::element(0.3f, 0.9f, kExportQuantile, 1.0f);
    std::vector<float> row = random_row(seed, count, 1.0f);
    std::vector<float> other = row;
    std::rotate(other.begin(), other.begin() + static_cast<int64_t>(step % other.size()), other.end());
    for (size_t i = 0; i < other.size(); i += 2) other[i] = -other[i];
    RC_ASSERT(num::bits_of(absolute_quantile(row, p)) == num::bits_of(absolute_quantile(other, p)));
  });
}

TEST(FlooredRowScale, TheFloorBindsBelowAClipOfOneAndNotAbove) {
  EXPECT_EQ(row_scale(0.0f, 31, true), 1.0f / 31.0f);
  EXPECT_EQ(row_scale(0.99f, 31, true), 1.0f / 31.0f);
  EXPECT_EQ(row_scale(2.0f, 31, true), 2.0f / 31.0f);
  EXPECT_EQ(row_scale(0.5f, 127, true), 1.0f / 127.0f);
  EXPECT_FLOAT_EQ(half(1.0f / 31.0f), 0.03225708f);
  EXPECT_FLOAT_EQ(half(1.0f / 127.0f), 0.007873535f);
}

TEST(QuantiseElement, TiesGoToEvenAndTheClipActsBelowTheFloor) {
  EXPECT_EQ(quantise_element(2.5f, 31.0f, 1.0f, 31), 2);
  EXPECT_EQ(quantise_element(3.5f, 31.0f, 1.0f, 31), 4);
  EXPECT_EQ(quantise_element(-2.5f, 31.0f, 1.0f, 31), -2);
  EXPECT_EQ(quantise_element(1e30f, 31.0f, 1.0f, 31), 31);
  // Clip 0.1 with the floored step 1/31: 0.5 is clipped to 0.1 = 3.1 steps although 31 steps are available.
  EXPECT_EQ(quantise_element(0.5f, 0.1f, 1.0f / 31.0f, 31), 3);
}

TEST(QuantiseRows, ARowOfTwoValuesWorkedByHand) {
  // Sorted magnitudes 1, 3; p = 1/2: r = 0.5, weight 1/2, upper branch: 3 - 1/2 * 2 = 2 = clip; scale 2/4.
  std::vector<float> values = {3.0f, -1.0f};
  auto result = quantise_rows("w", values, 1, 2, 4, 0.5f);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->scale_bits[0], num::to_fp16_bits(0.5f));
  EXPECT_EQ(result->integers, (std::vector<int8_t>{4, -2}));
}

TEST(QuantiseRows, ZeroRowsGiveZerosAtTheFloor) {
  std::vector<float> values(3 * 40, 0.0f);
  for (size_t i = 40; i < 80; ++i) values[i] = -0.0f;
  auto result = quantise_rows("w", values, 3, 40, 31, kExportQuantile);
  ASSERT_TRUE(result);
  EXPECT_TRUE(std::all_of(result->integers.begin(), result->integers.end(), [](int8_t q) { return q == 0; }));
  for (uint16_t bits : result->scale_bits) EXPECT_EQ(bits, num::to_fp16_bits(1.0f / 31.0f));
}

TEST(QuantiseRows, RestoredValuesAreWithinHalfAStepOfTheClippedOnes) {
  rc::check("error <= s/2 + |q| * |s - fp16(s)|", [] {
    auto seed = *rc::gen::inRange<uint64_t>(0, 1u << 30);
    auto columns = *rc::gen::inRange<int64_t>(1, 200);
    int32_t limit = *rc::gen::element(1, 15, 31, 127);
    float deviation = *rc::gen::element(0.001f, 0.05f, 1.0f, 40.0f);
    std::vector<float> row = random_row(seed, columns, deviation);
    auto result = quantise_rows("w", row, 1, columns, limit, kExportQuantile);
    RC_ASSERT(static_cast<bool>(result));
    float clip = absolute_quantile(row, kExportQuantile);
    double scale = row_scale(clip, limit, true);
    double mismatch = std::fabs(scale - num::from_fp16_bits(result->scale_bits[0]));
    for (size_t i = 0; i < row.size(); ++i) {
      int32_t q = result->integers[i];
      RC_ASSERT(std::abs(q) <= limit);
      double restored = dequantise_element(q, result->scale_bits[0]);
      double clipped = clip_to(row[i], clip);
      RC_ASSERT(std::fabs(restored - clipped) <= scale * 0.5000002 + std::abs(q) * mismatch);
    }
  });
}

TEST(QuantiseRows, RowsDoNotInfluenceEachOther) {
  std::vector<float> matrix = random_row(5, 8 * 64, 2.0f);
  auto whole = quantise_rows("w", matrix, 8, 64, 127, kExportQuantile);
  ASSERT_TRUE(whole);
  for (int64_t r = 0; r < 8; ++r) {
    auto one =
        quantise_rows("w", std::span(matrix).subspan(static_cast<size_t>(r * 64), 64), 1, 64, 127, kExportQuantile);
    ASSERT_TRUE(one);
    EXPECT_EQ(one->scale_bits[0], whole->scale_bits[static_cast<size_t>(r)]);
    EXPECT_TRUE(std::equal(one->integers.begin(), one->integers.end(), whole->integers.begin() + r * 64));
  }
}

TEST(QuantiseRows, NonFiniteInputAndOverflowingScalesAreErrorsThatNameTheTensor) {
  for (float poison : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                       -std::numeric_limits<float>::infinity()}) {
    for (size_t place : {size_t{0}, size_t{17}, size_t{39}}) {
      std::vector<float> values(40, 0.5f);
      values[place] = poison;
      auto result = quantise_rows("blocks.3.attn.c_q.weight", values, 2, 20, 31, kExportQuantile);
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().code, Errc::kData);
      EXPECT_EQ(result.error().where, "blocks.3.attn.c_q.weight");
      EXPECT_NE(result.error().what.find("element " + std::to_string(place) + " "), std::string::npos)
          << result.error().what;
      std::vector<float> out(values.size());
      EXPECT_FALSE(fake_quantised(values, 2, out));
    }
  }
  std::vector<float> huge(8, 3e6f);  // 3e6 / 31 > 65519
  auto result = quantise_rows("w", huge, 1, 8, 31, kExportQuantile);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().where, "w");
}

TEST(FakeQuantiser, FollowsTheStatedOrderOnAnIndependentText) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    std::vector<float> row = random_row(seed, 512, 0.04f);
    std::vector<float> out(row.size());
    ASSERT_TRUE(fake_quantised(row, 1, out));
    std::vector<float> w(row.size());
    for (size_t i = 0; i < row.size(); ++i) w[i] = num::round_to_bf16(row[i]);
    float clip = std::max(quantile_by_sorting(w, 0.9999984f), 1e-8f);
    float scale = clip / 31.0f;
    for (size_t i = 0; i < row.size(); ++i) {
      float q = std::nearbyint(std::clamp(w[i], -clip, clip) / scale);
      ASSERT_LE(std::fabs(q), 31.0f);
      ASSERT_EQ(out[i], num::round_to_bf16(q * scale)) << "seed " << seed << " element " << i;
    }
  }
}

TEST(FakeQuantiser, AFixedMatrixHasTheRecordedDigest) {
  std::vector<float> values = random_row(77, 64 * 512, 0.05f);
  std::vector<float> out(values.size());
  ASSERT_TRUE(fake_quantised(values, 64, out));
  Sha256 digest;
  for (float x : out) {
    std::byte raw[4];
    store_le_f32(raw, x);
    digest.update(raw);
  }
  EXPECT_EQ(hex(digest.finish()), "50a13e628c21435fe901be951709b710dc40f3e91c2e997b880ac225248e2176");
}

TEST(FakeQuantiser, HasNoScaleFloorUnlikeTheExport) {
  std::vector<float> row = random_row(3, 512, 0.01f);
  std::vector<float> out(row.size());
  ASSERT_TRUE(fake_quantised(row, 1, out));
  // The largest value survives up to rounding; the export's step of 1/31 would turn the whole row into 0 and +-1 steps.
  std::vector<float> levels(out);
  std::sort(levels.begin(), levels.end());
  EXPECT_GT(std::unique(levels.begin(), levels.end()) - levels.begin(), 30);
  auto exported = quantise_rows("w", row, 1, 512, 31, kExportQuantile);
  ASSERT_TRUE(exported);
  EXPECT_LE(*std::max_element(exported->integers.begin(), exported->integers.end()), 2);
}

TEST(FakeQuantiser, ZeroRowsStayZeroAndTinyOnesHitTheClipFloor) {
  std::vector<float> row(64, 0.0f);
  std::vector<float> out(64, 1.0f);
  ASSERT_TRUE(fake_quantised(row, 1, out));
  EXPECT_TRUE(std::all_of(out.begin(), out.end(), [](float x) { return x == 0.0f; }));
  row[5] = 1e-11f;  // far below half a step of 1e-8 / 31
  ASSERT_TRUE(fake_quantised(row, 1, out));
  EXPECT_EQ(out[5], 0.0f);
}

TEST(FakeQuantiser, MayWorkInPlace) {
  std::vector<float> row = random_row(9, 1536, 0.05f);
  std::vector<float> out(row.size());
  ASSERT_TRUE(fake_quantised(row, 1, out));
  ASSERT_TRUE(fake_quantised(row, 1, row));
  EXPECT_TRUE(same_bits(row, out));
}

}  // namespace
}  // namespace fairway::quant

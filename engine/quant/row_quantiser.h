/// The symmetric quantiser of the exporters: one scale per row, integers in one byte, clip from a quantile.
///
///   c = quantile_p(|row|)            the clip
///   s = max(c / Q, 1 / Q)            binary32; the floor 1/Q binds whenever c < 1
///   q = clamp(rint(clamp(x, -c, c) / s), -Q, Q)
///   stored: q as int8, s rounded to binary16; restored value: q * binary16(s), then rounded to the tensor's format
///
/// q is computed with the binary32 s although the rounded one is stored, as the published baseline does. Every
/// operation is one correctly rounded binary32 operation in the order written; rint rounds ties to even.
///
/// Goals: the same integers on every machine and for every way to find the order statistics. Non-goal: choosing clips
/// by reconstruction error; that is a search around these functions.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "kernels/num/float_bits.h"
#include "kernels/num/half.h"

namespace fairway::quant {

/// 99.99984 %, the quantile of the published exports. For rows of 512 it is the maximum less 0.0008 of the gap below
/// it.
constexpr float kExportQuantile = 0.9999984f;
/// The clip floor of the fake quantiser (fake_quantise_row65).
constexpr float kFakeQuantClipFloor = 1e-8f;
/// Largest integer of "int6 in int8" rows and of int8 rows.
constexpr int32_t kInt6Limit = 31;
constexpr int32_t kInt8Limit = 127;
/// Row lengths for which count - 1 is exact in binary32.
constexpr int64_t kMaxRowLength = int64_t{1} << 24;

/// Where the p-quantile of `count` ascending values lies: between a[low] and a[high], `weight` of the way.
struct QuantilePosition {
  int64_t low;
  int64_t high;
  float weight;
};

/// r = fl(p * (count - 1)), low = floor r, high = ceil r, weight = fl(r - low). 0 <= p <= 1, 1 <= count <=
/// kMaxRowLength.
QuantilePosition quantile_position(float p, int64_t count);

/// d = fl(high - low); fma(weight, d, low) if weight < 1/2, else fma(-fl(1 - weight), d, high).
/// Finite low <= high, 0 <= weight < 1.
FAIRWAY_HD float interpolate_quantile(float low, float high, float weight) {
  float difference = high - low;
  return weight < 0.5f ? num::fma(weight, difference, low) : num::fma(-(1.0f - weight), difference, high);
}

/// x limited to [-clip, clip]; clip >= 0.
FAIRWAY_HD float clip_to(float x, float clip) { return x < -clip ? -clip : (x > clip ? clip : x); }

/// max(clip / limit, 1 / limit).
FAIRWAY_HD float floored_row_scale(float clip, int32_t limit) {
  float scale = clip / static_cast<float>(limit);
  float floor = 1.0f / static_cast<float>(limit);
  return scale > floor ? scale : floor;
}

/// clamp(rint(clamp(x, -clip, clip) / scale), -limit, limit), for scale >= clip / limit up to rounding and limit <=
/// 127.
FAIRWAY_HD int32_t quantise_element(float x, float clip, float scale, int32_t limit) {
  int32_t q = num::round_to_int(clip_to(x, clip) / scale);
  q = q < -limit ? -limit : q;
  return q > limit ? limit : q;
}

/// q * binary16 scale; exact in binary32 (7 bits by 11 bits).
FAIRWAY_HD float dequantise_element(int32_t q, uint16_t scale_bits) {
  return static_cast<float>(q) * num::from_fp16_bits(scale_bits);
}

/// bf16(rint(clamp(w, -clip, clip) / scale) * scale): one element of the fake quantiser; w is a bfloat16 value,
/// scale = fl(clip / 31). No clamp of the integer: |w| <= clip keeps it within 31.
FAIRWAY_HD float fake_quantise_element(float w, float clip, float scale) {
  float q = static_cast<float>(num::round_to_int(clip_to(w, clip) / scale));
  return num::round_to_bf16(q * scale);
}

/// The p-quantile of |row|. The order statistics are selected on the integer bit patterns of |x|, so equal values,
/// signed zeros and the selection algorithm cannot matter. Precondition: row is finite and 1 <= size <= kMaxRowLength.
float absolute_quantile(std::span<const float> row, float p);

/// Index of the first NaN or infinity, or -1.
int64_t first_non_finite(std::span<const float> values);

/// A matrix as int8 rows.
struct QuantisedMatrix {
  int64_t rows = 0;
  int64_t columns = 0;
  int32_t limit = 0;                 ///< Q; |integers| <= Q
  std::vector<int8_t> integers;      ///< (rows, columns), row-major
  std::vector<uint16_t> scale_bits;  ///< (rows), binary16
};

/// Quantises `values` (rows, columns; row-major) with 1 <= limit <= 127.
/// Errors (kData, where = name): a NaN or an infinity in the input; a scale beyond binary16 (clip >= 65520 * limit).
Result<QuantisedMatrix> quantise_rows(const std::string& name, std::span<const float> values, int64_t rows,
                                      int64_t columns, int32_t limit, float quantile);

/// Fake quantisation of one row as the straight-through training of PR 65 does it, in this order:
///   w = bf16(x);  c = max(quantile_{0.9999984}(|w|), 1e-8);  s = fl(c / 31);
///   out = bf16(fl(rint(fl(clamp(w, -c, c) / s)) * s))
/// There is no floor on s here, unlike in the export: that mismatch belongs to the published recipe.
/// `out` may alias `row`. Returns false and leaves `out` unspecified if the row holds (or rounds to) a NaN or an
/// infinity.
bool fake_quantise_row65(std::span<const float> row, std::span<float> out);

/// fake_quantise_row65 on every row of (rows, columns). Error kData naming the tensor on a non-finite value.
/// Rows are independent: callers may split them over threads with fake_quantise_row65 instead.
Status fake_quantise_rows65(const std::string& name, std::span<const float> values, int64_t rows, int64_t columns,
                            std::span<float> out);

}  // namespace fairway::quant

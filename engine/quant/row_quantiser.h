/// The symmetric quantiser of the exporters: one scale per row, integers in one byte.
///
///   c = quantile_p(|row|)            the clip; p = 1 is the row's maximum; or c = k * deviation of the row
///   s = max(c / Q, floor)            binary32; floor 1/Q, which binds whenever c < 1, or 2^-24 without it
///   q = clamp(rint(clamp(x, -c, c) / s), -Q, Q)
///   stored: q as int8, s rounded to binary16; restored value: q * binary16(s), then rounded to the tensor's format
///
/// The published baseline computes q with the binary32 s although the rounded one is stored. Other exporters round s
/// first (`rounded_scale`): s = binary16(max(c / Q, floor)), and q = clamp(rint(x / s), -Q, Q) of the unclamped x.
/// Every operation is one correctly rounded binary32 operation in the order written; rint rounds ties to even.
///
/// Several candidates p are a search ("GPTQ-lite"): the p with the least sum of squares of fl(x - fl(q * s)) wins, a
/// later one only if it is strictly better. The sum is the integer sum of NUMERICS.md, 7.4.
///
/// Goals: the same integers on every machine, number of threads and way to find the order statistics. Non-goal:
/// compensation of one column's error in the next (gptq.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "kernels/num/float_bits.h"
#include "kernels/num/half.h"
#include "kernels/ops/quantile.h"
#include "kernels/quantile.h"

namespace fairway::quant {

using kernels::absolute_quantile;
using kernels::kMaxRowLength;
using kernels::quantile_position;
using kernels::QuantilePosition;
using ops::clip_to;
using ops::interpolate_quantile;
using ops::kExportQuantile;

/// Largest integer of "int6 in int8" rows and of int8 rows.
constexpr int32_t kInt6Limit = 31;
constexpr int32_t kInt8Limit = 127;
/// Row lengths for which a deviation is defined (its integer sums fit int64).
constexpr int64_t kMaxDeviationRow = 16384;

/// How the scales of a matrix are found.
struct RowMethod {
  /// One fixed quantile, the floor on, s rounded only when it is stored: the published baseline.
  RowMethod(float quantile = kExportQuantile) : candidates{quantile} {}

  std::vector<float> candidates;   ///< quantiles, 0 to 1, at least one; unused with deviations > 0
  bool one_for_all_rows = false;   ///< of several candidates, one is chosen for the whole matrix instead of per row
  bool rounded_scale = false;      ///< s is rounded to binary16 before it divides; x is not clamped before
  bool scale_floor = true;         ///< s is at least 1/Q; otherwise at least 2^-24
  float deviations = 0.0f;         ///< k > 0: the clip is k standard deviations of the row
  bool operator==(const RowMethod&) const = default;
};

/// max(clip / limit, floor), floor = 1 / limit, or the smallest positive binary16 without `with_floor`.
FAIRWAY_HD float row_scale(float clip, int32_t limit, bool with_floor) {
  float scale = clip / static_cast<float>(limit);
  float floor = with_floor ? 1.0f / static_cast<float>(limit) : 0x1p-24f;
  return scale > floor ? scale : floor;
}

/// clamp(rint(clamp(x, -clip, clip) / scale), -limit, limit), limit <= 127. An infinite clip clamps nothing.
FAIRWAY_HD int32_t quantise_element(float x, float clip, float scale, int32_t limit) {
  // Limiting the quotient one above the limit changes no result and keeps it where a float may become an integer.
  int32_t q = num::round_to_int(clip_to(clip_to(x, clip) / scale, static_cast<float>(limit + 1)));
  q = q < -limit ? -limit : q;
  return q > limit ? limit : q;
}

/// q * binary16 scale; exact in binary32 (7 bits by 11 bits).
FAIRWAY_HD float dequantise_element(int32_t q, uint16_t scale_bits) {
  return static_cast<float>(q) * num::from_fp16_bits(scale_bits);
}

/// Index of the first NaN or infinity, or -1.
int64_t first_non_finite(std::span<const float> values);

/// The error (kData) for that element of the tensor `name`.
Error non_finite(const std::string& name, std::span<const float> values, int64_t index);

/// A matrix as int8 rows.
struct QuantisedMatrix {
  int64_t rows = 0;
  int64_t columns = 0;
  int32_t limit = 0;                 ///< Q; |integers| <= Q
  std::vector<int8_t> integers;      ///< (rows, columns), row-major
  std::vector<uint16_t> scale_bits;  ///< (rows), binary16
};

/// The unbiased standard deviation of a finite row of 2 to kMaxDeviationRow values, from integer sums (N4 with b = 24):
/// u = 2^(e - 24) * sqrt((S2 - S1^2 / n) / (n - 1)), S1 = sum q, S2 = sum q^2, in binary64, rounded to binary32.
float row_deviation(std::span<const float> row);

/// Sum over a finite matrix of squares of fl(x - fl(q * s)), `scales` (rows) binary32: NUMERICS.md, 7.4.
double squared_error(std::span<const float> values, std::span<const int8_t> integers, std::span<const float> scales);

/// What divides the values of a row, and what is stored for it.
struct RowScale {
  float clip = 0.0f;     ///< to which values are clamped; infinite with `rounded_scale`
  float divisor = 0.0f;  ///< s
  uint16_t bits = 0;     ///< binary16
};

/// The scale of every row for one candidate (or for the deviation). Errors (kData, where = name): a scale beyond
/// binary16 (clip >= 65520 * limit).
Result<std::vector<RowScale>> row_scales(const std::string& name, std::span<const float> values, int64_t rows,
                                         int64_t columns, int32_t limit, const RowMethod& method, size_t candidate);

/// Quantises `values` (rows, columns; row-major) with 1 <= limit <= 127.
/// Errors (kData, where = name): a NaN or an infinity in the input; a scale beyond binary16.
Result<QuantisedMatrix> quantise_rows(const std::string& name, std::span<const float> values, int64_t rows,
                                      int64_t columns, int32_t limit, const RowMethod& method);

}  // namespace fairway::quant

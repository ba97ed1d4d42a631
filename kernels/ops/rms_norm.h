/// rms_norm of a row of n values: y = x / sqrt(mean(x^2) + eps), and its backward pass (NUMERICS.md, "Norms").
///
/// Both sums over the row are integer sums of 24-bit quantised values: |q| < 2^24, so n <= 2^14 terms stay below 2^62.
/// Error against binary64: 2e-7 per element forward, 1e-7 backward (relative to the row), tests/kernels/ops_test.cc.
#pragma once

#include "kernels/num/exact_sum.h"
#include "kernels/num/quantise.h"

namespace fairway::ops {

/// PyTorch's default for binary32 statistics: 2^-23.
constexpr float kRmsNormEps = 0x1p-23f;
constexpr int64_t kMaxNormWidth = 16384;

/// r = 1 / sqrt(mean + eps). `sum` = sum of q^2 over the row, `exponent` the row's e at 24 bits.
/// A mean that overflows binary32 gives a NaN, which the next quantiser reports.
FAIRWAY_HD float rms_norm_scale(int64_t sum, int32_t exponent, int64_t n) {
  float mean = num::grid_value(sum, 2 * (exponent - 24)) / static_cast<float>(n);
  float v = mean + kRmsNormEps;
  return num::magnitude_bits(v) < num::kInfinityBits ? 1.0f / num::sqrt(v) : num::float_of(0x7fc00000u);
}

/// c = (sum dy * y) / n from the integer sum and the two exponents.
FAIRWAY_HD float rms_norm_projection(int64_t sum, int32_t dy_exponent, int32_t y_exponent, int64_t n) {
  return num::grid_value(sum, dy_exponent + y_exponent - 48) / static_cast<float>(n);
}

/// dx = r * (dy - y * c).
FAIRWAY_HD float rms_norm_gradient(float dy, float y, float c, float r) { return r * (dy - y * c); }

}  // namespace fairway::ops

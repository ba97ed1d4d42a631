/// Elements of the operations that are a handful of binary32 operations (NUMERICS.md, section 7): one text for every backend.
#pragma once

#include "kernels/num/exact_sum.h"

namespace fairway::ops {

FAIRWAY_HD float scaled(float x, float s) { return s * x; }
FAIRWAY_HD float added(float x, float a) { return x + a; }
/// x + s * a.
FAIRWAY_HD float add_scaled(float x, float s, float a) { return x + s * a; }
/// s0 * a + s1 * b.
FAIRWAY_HD float mixed(float a, float s0, float b, float s1) { return s0 * a + s1 * b; }

/// A step from x towards u: x + a * (u - x).
FAIRWAY_HD float interpolated(float x, float a, float u) { return x + a * (u - x); }
/// s * (u - x).
FAIRWAY_HD float scaled_difference(float u, float x, float s) { return s * (u - x); }
/// |a|, a = factor * rate: the size of a step; and its derivative by the rate.
FAIRWAY_HD float step_size(float a) { return a < 0.0f ? -a : a; }
FAIRWAY_HD float step_slope(float a, float factor) { return a < 0.0f ? -factor : factor; }

/// max(a, 0)^2.
FAIRWAY_HD float relu_squared(float a) {
  float positive = a > 0.0f ? a : 0.0f;
  return positive * positive;
}
/// a > 0 ? (2 a) dh : 0. Selected after the product: 0 * dh would be -0 for a negative dh and a NaN for an infinite one.
FAIRWAY_HD float relu_squared_gradient(float a, float dh) {
  float slope = (2.0f * a) * dh;
  return a > 0.0f ? slope : 0.0f;
}

/// b^2 with b = a > 0 ? a : slope * a.
FAIRWAY_HD float leaky_relu_squared(float a, float slope) {
  const float b = a > 0.0f ? a : slope * a;
  return b * b;
}
/// ((2 b) f) dh with f = a > 0 ? 1 : slope.
FAIRWAY_HD float leaky_relu_squared_gradient(float a, float slope, float dh) {
  const float f = a > 0.0f ? 1.0f : slope;
  return ((2.0f * (f * a)) * f) * dh;
}

/// A per-token term of a scale's gradient.
FAIRWAY_HD float product_term(float a, float b) { return a * b; }

/// fl32(fl32(acc) * 2^-30 / divisor): the mean gradient.
FAIRWAY_HD float mean_gradient(int64_t acc, float divisor) { return (static_cast<float>(acc) * 0x1p-30f) / divisor; }

}  // namespace fairway::ops

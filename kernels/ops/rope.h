/// Rotary embedding of one pair (NUMERICS.md, "Rope"): half-split pairing, a clockwise rotation.
#pragma once

#include "kernels/num/half.h"
#include "kernels/num/scalar64.h"
#include "kernels/num/trig.h"

namespace fairway::ops {

struct Pair {
  float first, second;
};

/// (x c + y s, y c - x s).
FAIRWAY_HD Pair rotate(float x, float y, num::SinCos a) { return {x * a.cos + y * a.sin, y * a.cos - x * a.sin}; }

/// The transpose, for gradients: (x c - y s, y c + x s).
FAIRWAY_HD Pair rotate_back(float x, float y, num::SinCos a) { return {x * a.cos - y * a.sin, y * a.cos + x * a.sin}; }

/// theta_i = fl32(base^(-2i/width)), the power in binary64; optionally rounded to bf16 as the early scripts store it.
FAIRWAY_HD float rope_frequency(double base, int64_t i, int64_t width, bool bf16) {
  float theta = static_cast<float>(num::pow_64(base, -2.0 * static_cast<double>(i) / static_cast<double>(width)));
  return bf16 ? num::round_to_bf16(theta) : theta;
}

/// base * (window / reference)^(width / (width - 2)), binary64: the base of a window longer than the reference. width > 2.
FAIRWAY_HD double rescaled_rope_base(double base, int64_t window, int64_t reference, int64_t width) {
  double ratio = static_cast<double>(window) / static_cast<double>(reference);
  return base * num::pow_64(ratio, static_cast<double>(width) / static_cast<double>(width - 2));
}

/// sin and cos of fl32(position * theta).
FAIRWAY_HD num::SinCos rope_angle(int64_t position, float theta) {
  return num::sin_cos(static_cast<float>(position) * theta);
}

}  // namespace fairway::ops

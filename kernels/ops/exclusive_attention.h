/// Elements of exclusive self attention: what an attention output has along the token's own value is taken out
/// (NUMERICS.md, "Exclusive attention").
#pragma once

#include "kernels/num/exact_sum.h"
#include "kernels/num/quantise.h"

namespace fairway::ops {

/// Smallest divisor of a value vector, as in PyTorch's normalize.
constexpr float kUnitEps = 1e-12f;

/// max(sqrt(square), eps).
FAIRWAY_HD float value_norm(float square) {
  const float norm = num::sqrt(square);
  // Compared as bits, which order numbers that are not negative: a comparison of floats may become an instruction with NaN rules of its own.
  return num::bits_of(norm) > num::bits_of(kUnitEps) ? norm : kUnitEps;
}

/// An element of the unit vector.
FAIRWAY_HD float unit_value(float v, float norm) { return v / norm; }

/// y = o - along * unit; the same text takes the gradient of o from that of y.
FAIRWAY_HD float exclude(float o, float along, float unit) { return o - along * unit; }

/// One query head's term of the gradient of the unit vector, before the sign: along * dy + gradient_along * o.
FAIRWAY_HD float unit_gradient_term(float along, float dy, float gradient_along, float o) { return along * dy + gradient_along * o; }

/// The gradient of an element of the unit vector: minus the sum of the heads' terms, quantised at 24 bits with one exponent.
FAIRWAY_HD float unit_gradient(int64_t sum, int32_t exponent) { return -num::grid_value(sum, exponent - 24); }

/// d v from the gradient of the unit vector: (du - projection * unit) / norm; a clamped norm passes du / norm.
FAIRWAY_HD float value_gradient(float du, float projection, float unit, float norm) {
  return norm > kUnitEps ? (du - projection * unit) / norm : du / norm;
}

}  // namespace fairway::ops

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
  float norm = num::sqrt(square);
  return norm > kUnitEps ? norm : kUnitEps;
}

/// An element of the unit vector, and the sign of its gradient's sum.
FAIRWAY_HD float unit_value(float v, float norm) { return v / norm; }
FAIRWAY_HD float negated(float x) { return -x; }

/// y = o - along * unit; the same text takes the gradient of o from that of y.
FAIRWAY_HD float exclude(float o, float along, float unit) { return o - along * unit; }

/// One query head's term of the gradient of the unit vector, before the sign: along * dy + gradient_along * o.
FAIRWAY_HD float unit_gradient_term(float along, float dy, float gradient_along, float o) { return along * dy + gradient_along * o; }

/// d v from the gradient of the unit vector: (du - projection * unit) / norm; a clamped norm passes du / norm.
FAIRWAY_HD float value_gradient(float du, float projection, float unit, float norm) {
  return norm > kUnitEps ? (du - projection * unit) / norm : du / norm;
}

}  // namespace fairway::ops

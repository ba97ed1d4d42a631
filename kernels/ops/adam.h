/// One element of Adam (NUMERICS.md, "Adam"): bias-corrected, epsilon outside the root.
#pragma once

#include "kernels/num/half.h"

namespace fairway::ops {

/// Scalars of one step, computed in binary64 and rounded once.
struct AdamStep {
  float lr;           ///< fl32(base_lr * multiplier)
  float beta1, beta2; ///< fl32
  float rest1, rest2; ///< fl32(1 - beta)
  float correction1;  ///< fl32(1 - beta1^t), t = steps of this optimizer so far, this one included
  float correction2;  ///< fl32(1 - beta2^t)
  float eps;
  float decay = 1.0f;  ///< fl32(1 - lr * weight decay), decoupled; 1: none
};

/// m = b1 m + (1-b1) g;  v = b2 v + (1-b2) (g g);  w = w decay - lr (m / c1) / (sqrt(v / c2) + eps).
/// With bf16, g is rounded to it first and m, v and w after their last operation; the update uses the unrounded m and v.
FAIRWAY_HD void adam_element(float g, bool bf16, const AdamStep& s, float& m, float& v, float& w) {
  g = bf16 ? num::round_to_bf16(g) : g;
  float m1 = s.beta1 * m + s.rest1 * g;
  float v1 = s.beta2 * v + s.rest2 * (g * g);
  float denominator = num::sqrt(v1 / s.correction2) + s.eps;
  float w1 = w * s.decay - s.lr * (m1 / s.correction1) / denominator;
  m = bf16 ? num::round_to_bf16(m1) : m1;
  v = bf16 ? num::round_to_bf16(v1) : v1;
  w = bf16 ? num::round_to_bf16(w1) : w1;
}

}  // namespace fairway::ops

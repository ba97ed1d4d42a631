/// One element of SGD with momentum (NUMERICS.md, 28.3).
#pragma once

#include "kernels/num/half.h"

namespace fairway::ops {

/// Scalars of one step, rounded once.
struct SgdStep {
  float factor;  ///< of the clipped gradient; 1: not clipped
  float rate, momentum;
};

/// g = gradient factor;  u = momentum u + g;  w = w - rate u. With bf16, g, momentum u, u and w are rounded to it as
/// each is made.
FAIRWAY_HD void sgd_element(float gradient, bool bf16, const SgdStep& s, float& u, float& w) {
  float g = gradient * s.factor;
  g = bf16 ? num::round_to_bf16(g) : g;
  float kept = s.momentum * u;
  kept = bf16 ? num::round_to_bf16(kept) : kept;
  float u1 = kept + g;
  u1 = bf16 ? num::round_to_bf16(u1) : u1;
  float w1 = w - s.rate * u1;
  u = u1;
  w = bf16 ? num::round_to_bf16(w1) : w1;
}

}  // namespace fairway::ops

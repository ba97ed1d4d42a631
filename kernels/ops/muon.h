/// Elements of Muon around the Newton-Schulz iteration (NUMERICS.md, "Muon").
#pragma once

#include "kernels/num/half.h"

namespace fairway::ops {

/// M = mu M + g; the iteration's input is g + mu M (Nesterov, with the new M).
FAIRWAY_HD float muon_momentum(float g, float mu, float& momentum) {
  momentum = mu * momentum + g;
  return g + mu * momentum;
}

/// w = w - lr u', u' the orthogonalised matrix as the original's bf16 buffer holds it: u rounded to bf16, times the shape
/// factor sqrt(max(1, rows / columns)), rounded again.
FAIRWAY_HD float muon_update(float w, float u, float shape_factor, float lr) {
  float update = num::round_to_bf16(num::round_to_bf16(u) * shape_factor);
  return w - lr * update;
}

}  // namespace fairway::ops

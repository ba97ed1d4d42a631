/// Elements of Muon around the Newton-Schulz iteration (NUMERICS.md, "Muon").
#pragma once

#include "kernels/num/half.h"

namespace fairway::ops {

/// M = mu M + g; the iteration's input is g + mu M (Nesterov, with the new M).
FAIRWAY_HD float muon_momentum(float g, float mu, float& momentum) {
  momentum = mu * momentum + g;
  return g + mu * momentum;
}

/// The same with gradient and momentum stored in bf16: M is rounded after the product and after the sum, the input once.
FAIRWAY_HD float muon_momentum_bf16(float g, float mu, float& momentum) {
  g = num::round_to_bf16(g);
  momentum = num::round_to_bf16(num::round_to_bf16(mu * momentum) + g);
  return num::round_to_bf16(g + mu * momentum);
}

/// Coefficients of the Newton-Schulz iteration and the divisor of its input: fl32(sqrt(total)) + 1e-7.
constexpr float kNewtonSchulzA = 3.4445f, kNewtonSchulzB = -4.7750f, kNewtonSchulzC = 2.0315f;
FAIRWAY_HD float newton_schulz_divisor(double total) { return static_cast<float>(num::sqrt(total)) + 1e-7f; }
FAIRWAY_HD float newton_schulz_input(float x, float divisor) { return x / divisor; }
/// P = b A + c (A A) and X = a X + P X, element by element.
FAIRWAY_HD float newton_schulz_polynomial(float a, float a2) { return kNewtonSchulzB * a + kNewtonSchulzC * a2; }
FAIRWAY_HD float newton_schulz_next(float x, float px) { return kNewtonSchulzA * x + px; }

/// w = w - lr u', u' the orthogonalised matrix as the original's bf16 buffer holds it: u rounded to bf16, times the shape
/// factor sqrt(max(1, rows / columns)), rounded again. Decoupled decay multiplies w before or after.
FAIRWAY_HD float muon_update(float w, float u, float shape_factor, float lr, float decay_before, float decay_after) {
  float update = num::round_to_bf16(num::round_to_bf16(u) * shape_factor);
  return (w * decay_before - lr * update) * decay_after;
}

/// Parallel Muon: w = w decay - (lr shape factor) u, u rounded to bf16 as it is gathered; `scaled_lr` is one binary32 number.
FAIRWAY_HD float parallel_muon_update(float w, float u, float scaled_lr, float decay) {
  return w * decay - scaled_lr * num::round_to_bf16(u);
}

}  // namespace fairway::ops

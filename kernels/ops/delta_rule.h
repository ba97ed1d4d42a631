/// Elements of a gated delta layer (NUMERICS.md, "Gated delta rule").
#pragma once

#include "kernels/num/exp.h"
#include "kernels/num/log.h"
#include "kernels/num/tanh.h"

namespace fairway::ops {

/// Rows of a short convolution.
constexpr int kConvolutionTaps = 4;
/// Entries of a state and of one of its sides: their 48-bit products sum within int64.
constexpr int kMaxDeltaState = 16384, kMaxDeltaSide = 1024;
/// From here on softplus(x) is x, as in PyTorch.
constexpr float kSoftplusLinear = 20.0f;

/// x sigmoid(x).
FAIRWAY_HD float silu(float x) { return x * num::sigmoid(x); }
/// d x of silu, s = sigmoid(x).
FAIRWAY_HD float silu_gradient(float dy, float x, float s) { return dy * (s * (1.0f + x * (1.0f - s))); }

FAIRWAY_HD float softplus(float x) { return x > kSoftplusLinear ? x : num::log(1.0f + num::exp(x)); }
FAIRWAY_HD float softplus_gradient(float dy, float x) { return x > kSoftplusLinear ? dy : dy * num::sigmoid(x); }

/// The new state: decay s + k e.
FAIRWAY_HD float delta_state(float s, float decay, float k, float e) { return decay * s + k * e; }
/// The gradient of the state before from that of the state after: decay ((d + k dr) + q dy).
FAIRWAY_HD float delta_state_gradient(float d, float decay, float k, float dr, float q, float dy) {
  return decay * ((d + k * dr) + q * dy);
}

}  // namespace fairway::ops

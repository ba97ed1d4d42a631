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

/// A convolution's sum: ((w0 x0 + w1 x1) + w2 x2) + w3 x3.
FAIRWAY_HD float convolved(const float (&w)[kConvolutionTaps], const float (&x)[kConvolutionTaps]) {
  return ((w[0] * x[0] + w[1] * x[1]) + w[2] * x[2]) + w[3] * x[3];
}

/// The output gate (n w) silu(g), and d g of it, s = sigmoid(g).
FAIRWAY_HD float swish_gated(float n, float w, float g) { return (n * w) * silu(g); }
FAIRWAY_HD float swish_gradient(float dy, float n, float w, float g, float s) { return silu_gradient(dy * (n * w), g, s); }

/// The gates: time = softplus(a + bias), decay = exp(-(rate time)).
FAIRWAY_HD float delta_time(float a, float bias) { return softplus(a + bias); }
FAIRWAY_HD float delta_decay(float rate, float time) { return num::exp(-(rate * time)); }
/// The gradient of rate time from that of decay; of log(rate) and of a from it.
FAIRWAY_HD float delta_exponent_gradient(float decay, float ddecay) { return -(decay * ddecay); }
FAIRWAY_HD float delta_rate_term(float gradient, float rate, float time) { return gradient * (rate * time); }
FAIRWAY_HD float delta_time_term(float gradient, float rate, float a, float bias) {
  return softplus_gradient(gradient * rate, a + bias);
}

/// What the state misses of v: v - decay S^T k.
FAIRWAY_HD float delta_miss(float v, float decay, float read) { return v - decay * read; }
/// d e: qk dy + (the state's gradient)^T k.
FAIRWAY_HD float delta_error_gradient(float qk, float dy, float along) { return qk * dy + along; }
/// d k from the gradients through the new state, through the miss and through dot(k, q).
FAIRWAY_HD float delta_key_gradient(float through_state, float decay, float through_miss, float dqk, float q) {
  return (through_state + decay * through_miss) + dqk * q;
}
FAIRWAY_HD float delta_decay_gradient(float along_k, float along_q, float along_state) {
  return (along_k + along_q) + along_state;
}

/// The new state: decay s + k e.
FAIRWAY_HD float delta_state(float s, float decay, float k, float e) { return decay * s + k * e; }
/// The gradient of the state before from that of the state after: decay ((d + k dr) + q dy).
FAIRWAY_HD float delta_state_gradient(float d, float decay, float k, float dr, float q, float dy) {
  return decay * ((d + k * dr) + q * dy);
}

}  // namespace fairway::ops

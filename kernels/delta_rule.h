/// The gated delta rule of arXiv 2412.06464 (NUMERICS.md, "Gated delta rule"), one state (key_dim, value_dim) per
/// sequence and head:
///
///   S = decay S (I - beta k k^T) + beta k v^T;  out = S^T q            S is zero before the first token
///
/// q, k (tokens, heads, key_dim); v, out (tokens, heads, value_dim); decay, beta (tokens, heads). Every sum over an
/// index is an integer sum; along time the state is a recurrence.
#pragma once

#include <cstdint>

namespace fairway::kernels {

struct DeltaShape {
  int64_t sequences, length, heads;
  int64_t key_dim, value_dim;  ///< each at most 1,024, their product at most 16,384
};

struct DeltaForward {
  DeltaShape shape;
  const float *q, *k, *v, *decay, *beta;
  float* out;
};

struct DeltaBackward {
  DeltaShape shape;
  const float *q, *k, *v, *decay, *beta, *dout;
  float *dq, *dk, *dv, *ddecay, *dbeta;
};

/// False if a value is not finite.
[[nodiscard]] bool delta_rule(const DeltaForward& d);
[[nodiscard]] bool delta_rule_backward(const DeltaBackward& d);

/// y = silu(((w0 x(t-3) + w1 x(t-2)) + w2 x(t-1)) + w3 x(t)) per channel, zeros before the first token of a sequence; w
/// (4, n), x (tokens, n). z (like x) keeps the sums for the backward pass.
void short_convolution(const float* x, const float* w, int64_t tokens, int64_t length, int64_t n, float* z, float* y);
/// dz and dx from dy; `earlier` (like x) is x moved `taps` tokens back within its sequence, for the gradient of row 3 -
/// taps of w.
void short_convolution_backward(const float* dy, const float* z, const float* w, int64_t tokens, int64_t length,
                                int64_t n, float* dz, float* dx);
void moved_back(const float* x, int64_t taps, int64_t tokens, int64_t length, int64_t n, float* earlier);

}  // namespace fairway::kernels

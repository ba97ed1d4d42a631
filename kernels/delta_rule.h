/// The gated delta rule of arXiv 2412.06464 (NUMERICS.md, "Gated delta rule"), one state (key_dim, value_dim) per
/// sequence and head:
///
///   S = decay S (I - beta k k^T) + beta k v^T;  out = S^T q            S is zero before the first token
///
/// q, k (tokens, heads, key_dim); v, out (tokens, heads, value_dim); decay, beta (tokens, heads). Every sum over an
/// index is an integer sum; along time the state is a recurrence.
#pragma once

#include <cstdint>

#include "kernels/num/hd.h"

namespace fairway::kernels {

struct DeltaShape {
  int64_t sequences, length, heads;
  int64_t key_dim, value_dim;  ///< each at most 1,024, their product at most 16,384
};

/// Aborts if a side or the state is larger than its sums allow.
void check_delta_shape(const DeltaShape& shape);

/// Offsets of a token and head in (tokens, heads), keys and values.
struct DeltaPlace {
  int64_t scalar, key, value;
};
FAIRWAY_HD DeltaPlace delta_place(const DeltaShape& s, int64_t sequence, int64_t head, int64_t position) {
  const int64_t row = (sequence * s.length + position) * s.heads + head;
  return {row, row * s.key_dim, row * s.value_dim};
}

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

/// What is kept and written, a, b and the results (tokens, heads), a_log, dt_bias and rate (heads): rate = exp(a_log),
/// time = softplus(a + dt_bias), decay = exp(-rate time), beta = sigmoid(b).
void delta_gates(const float* a, const float* b, const float* a_log, const float* dt_bias, int64_t tokens,
                 int64_t heads, float* rate, float* time, float* decay, float* beta);

/// The per-token terms of the gradients of a_log, of dt_bias, which is also that of a, and of b.
struct DeltaGatesBackward {
  int64_t tokens, heads;
  const float *a, *dt_bias, *rate, *time, *decay, *beta, *ddecay, *dbeta;
  float *rate_terms, *time_terms, *beta_terms;
};
void delta_gates_backward(const DeltaGatesBackward& d);

/// y = (n w) silu(g), w (m) per channel of a head, the others (count / m, m).
void swish_gate(const float* n, const float* w, const float* g, int64_t count, int64_t m, float* y);
/// gated = dy silu(g), the gradient of n w; dg.
void swish_gate_backward(const float* dy, const float* n, const float* w, const float* g, int64_t count, int64_t m,
                         float* gated, float* dg);

}  // namespace fairway::kernels

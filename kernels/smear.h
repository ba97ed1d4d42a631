/// Smear gates (NUMERICS.md, "Smear gates"): x (tokens, n), position = token mod length; the predecessor of position 0 is zero.
#pragma once

#include <cstdint>

namespace fairway::kernels {

/// y = keep * x + carry * previous, weights per channel; position 0: keep * x. y must not alias x.
void smear_channels(const float* x, const float* keep, const float* carry, int64_t tokens, int64_t length, int64_t n, float* y);

/// dx = keep * dy + carry * (dy of the successor); the last position has none. dx must not alias dy.
void smear_channels_backward(const float* dy, const float* keep, const float* carry, int64_t tokens, int64_t length, int64_t n,
                             float* dx);

/// terms[t][c] = the per-token term of the gradient of gate[c] with s[c] = sigmoid(gate[c]). `raises_previous`: s is the weight of
/// the predecessor (else of the token itself).
void smear_gate_terms(const float* dy, const float* x, const float* s, bool raises_previous, int64_t tokens, int64_t length, int64_t n,
                      float* terms);

/// One gate per token from its first ops::kSmearChannels channels: gate[t] = sigmoid(dot(w, x_t) + b); y = x + (0.07 * gate) * previous.
/// y must not alias x. False if a value is not finite.
[[nodiscard]] bool smear_tokens(const float* x, const float* w, float b, int64_t tokens, int64_t length, int64_t n, float* gate, float* y);

/// dz[t] = gradient of the gate before the sigmoid; terms (tokens, ops::kSmearChannels) = dz x, those of w; dx. False if a value is not
/// finite.
[[nodiscard]] bool smear_tokens_backward(const float* dy, const float* x, const float* w, const float* gate, int64_t tokens, int64_t length,
                                         int64_t n, float* dz, float* terms, float* dx);

}  // namespace fairway::kernels

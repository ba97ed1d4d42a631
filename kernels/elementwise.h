/// Element-by-element operations of the model; every one is a fixed handful of binary32 operations in the order written.
/// Matrices are (rows, n) without gaps; outputs may alias inputs of the same shape.
#pragma once

#include <cstdint>
#include <span>

namespace fairway::kernels {

/// u = m0 * x + m1 * x0, m0 and m1 per channel.
void mix(const float* x, const float* x0, const float* m0, const float* m1, int64_t rows, int64_t n, float* u);

/// y = x + s * a, s per channel.
void scaled_add(const float* x, const float* s, const float* a, int64_t rows, int64_t n, float* y);

/// Per channel, a = factor * rate: step = |a|, rest = 1 - step, slope = the derivative of step by the rate.
void interpolation_rates(const float* rate, float factor, int64_t n, float* step, float* rest, float* slope);

/// y = x + a * (u - x), a per channel.
void interpolate(const float* x, const float* a, const float* u, int64_t rows, int64_t n, float* y);

/// y = s * (u - x), s per channel.
void scaled_difference(const float* u, const float* x, const float* s, int64_t rows, int64_t n, float* y);

/// y = s * x, s per channel.
void scale_channels(const float* x, const float* s, int64_t rows, int64_t n, float* y);

/// y = s * x, one s for all.
void scale(const float* x, float s, int64_t count, float* y);

/// y = s[row] * x.
void scale_rows(const float* x, const float* s, int64_t rows, int64_t n, float* y);

/// y = x + a.
void add(const float* x, const float* a, int64_t count, float* y);

/// y = x + s * a, one s for all.
void add_scaled(const float* x, float s, const float* a, int64_t count, float* y);

/// y = s0 * a + s1 * b.
void mix_scalars(const float* a, float s0, const float* b, float s1, int64_t count, float* y);

/// y += x.
void add_to(const float* x, int64_t count, float* y);

/// h = max(a, 0)^2.
void relu_squared(const float* a, int64_t count, float* h);
/// da = a > 0 ? (2 a) * dh : 0.
void relu_squared_backward(const float* a, const float* dh, int64_t count, float* da);

/// h = b^2 with b = a > 0 ? a : slope * a.
void leaky_relu_squared(const float* a, float slope, int64_t count, float* h);
/// da = ((2 b) f) dh with f = a > 0 ? 1 : slope.
void leaky_relu_squared_backward(const float* a, float slope, const float* dh, int64_t count, float* da);

/// x (tokens, heads, head_dim), position = token mod length; rotates the first `width` dims of every head by the table
/// (length, width / 2, {sin, cos}); backward applies the transpose.
void rope(float* x, int64_t tokens, int64_t length, int64_t heads, int64_t head_dim, int64_t width, const float* table, bool backward);

/// sin and cos of fl32(position * theta_i), interleaved, for `rope`. theta from base^(-2i/width).
void rope_table(int64_t length, int64_t width, double base, bool bf16_frequencies, float* table);

/// y = g[head] * x, x (tokens, heads, head_dim).
void scale_heads(const float* x, const float* g, int64_t tokens, int64_t heads, int64_t head_dim, float* y);

/// y[t] = table[ids[t]], rows of n.
void gather_rows(const float* table, const uint16_t* ids, int64_t tokens, int64_t n, float* y);

/// Rounds each value to bfloat16, held in binary32.
void round_to_bf16(std::span<float> x);

/// True if every value is finite.
[[nodiscard]] bool all_finite(std::span<const float> x);

}  // namespace fairway::kernels

#include "kernels/cpu/isa/rows_inline.h"

#include "kernels/cpu/isa/functions.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/sum_of_squares.h"

namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE {

bool quantise_rows(const float* x, int64_t ld, int64_t columns, int bits, const RowsOut& out, int64_t begin, int64_t end) {
  bool finite = true;
  for (int64_t r = begin; r < end; ++r) finite = quantise_row(x + r * ld, columns, bits, out, r) && finite;
  return finite;
}

namespace {

/// Columns [c0, c0 + width) of x, width <= 64. kFull: width is 64, which the compiler then knows.
template <bool kFull>
FAIRWAY_INLINE bool quantise_stripe(const float* x, int64_t ld, int64_t rows, int bits, const RowsOut& out, int64_t c0, int64_t columns) {
  const int64_t width = kFull ? 64 : columns;
  const int slices = slices_of_bits(bits);
  uint32_t max[64] = {};
  for (int64_t r = 0; r < rows; ++r) {
    const float* __restrict row = x + r * ld + c0;
    for (int64_t c = 0; c < width; ++c) {
      uint32_t m = num::magnitude_bits(row[c]);
      max[c] = m > max[c] ? m : max[c];
    }
  }
  alignas(64) float scale[64] = {};
  for (int64_t c = 0; c < width; ++c) {
    if (max[c] >= num::kInfinityBits) return false;
    int32_t e = num::group_exponent(max[c], bits);
    out.exponent[c0 + c] = e;
    scale[c] = num::quantiser_scale(e, bits);
  }
  for (int64_t r0 = 0; r0 < out.stride; r0 += 64) {
    alignas(64) int8_t tile[3][64][64];
    const int64_t left = rows - r0;
    const int64_t height = left >= 64 ? 64 : left > 0 ? left : 0;
    if (height < 64 || !kFull) __builtin_memset(tile, 0, sizeof tile);
    for (int64_t r = 0; r < height; ++r) {
      const float* __restrict row = x + (r0 + r) * ld + c0;
      alignas(64) float scaled[64];
      for (int64_t c = 0; c < width; ++c) scaled[c] = row[c] * scale[c];
      // The product with 2^(b-e) is done; write_slices multiplies by 1.
      write_slices(scaled, width, 1.0f, slices, tile[0][r], tile[1][r], tile[2][r]);
    }
    for (int s = 0; s < slices; ++s) {
      if (kFull) {
        transpose_tile(tile[s], out.plane[s] + c0 * out.stride + r0, out.stride);
      } else {
        alignas(64) int8_t turned[64][64];
        transpose_tile(tile[s], turned[0], 64);
        for (int64_t c = 0; c < width; ++c) __builtin_memcpy(out.plane[s] + (c0 + c) * out.stride + r0, turned[c], 64);
      }
    }
  }
  return true;
}

}  // namespace

/// Columns [begin, end) of x (rows, ld) become rows of the output; begin is a multiple of 64.
bool quantise_columns(const float* x, int64_t ld, int64_t rows, int bits, const RowsOut& out, int64_t begin, int64_t end) {
  for (int64_t c0 = begin; c0 < end; c0 += 64) {
    const bool finite = end - c0 >= 64 ? quantise_stripe<true>(x, ld, rows, bits, out, c0, 64)
                                       : quantise_stripe<false>(x, ld, rows, bits, out, c0, end - c0);
    if (!finite) return false;
  }
  return true;
}

namespace {

/// Sum of q_a * q_b of two rows at 24 bits; |sum| < n * 2^48.
FAIRWAY_INLINE int64_t integer_dot(const float* __restrict a, float scale_a, const float* __restrict b, float scale_b, int64_t n) {
  int64_t sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    sum += static_cast<int64_t>(num::quantise24(a[i], scale_a)) * num::quantise24(b[i], scale_b);
  }
  return sum;
}

FAIRWAY_INLINE int64_t integer_square(const float* x, float scale, int64_t n) {
  int64_t sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    int64_t q = num::quantise24(x[i], scale);
    sum += q * q;
  }
  return sum;
}

}  // namespace

bool rms_norm(const float* x, int64_t n, float* y, float* r, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float* __restrict in = x + row * n;
    float* __restrict out = y + row * n;
    uint32_t max = max_magnitude(in, n);
    if (max >= num::kInfinityBits) return false;
    int32_t e = num::group_exponent(max, 24);
    float scale = ops::rms_norm_scale(integer_square(in, num::quantiser_scale(e, 24), n), e, n);
    r[row] = scale;
    for (int64_t i = 0; i < n; ++i) out[i] = ops::scaled(in[i], scale);
  }
  return true;
}

bool rms_norm_backward(const float* dy, const float* y, const float* r, int64_t n, float* dx, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float* __restrict g = dy + row * n;
    const float* __restrict v = y + row * n;
    float* __restrict out = dx + row * n;
    uint32_t max_g = max_magnitude(g, n), max_v = max_magnitude(v, n);
    if (max_g >= num::kInfinityBits || max_v >= num::kInfinityBits) return false;
    int32_t eg = num::group_exponent(max_g, 24), ev = num::group_exponent(max_v, 24);
    int64_t sum = integer_dot(g, num::quantiser_scale(eg, 24), v, num::quantiser_scale(ev, 24), n);
    float c = ops::rms_norm_projection(sum, eg, ev, n);
    float scale = r[row];
    for (int64_t i = 0; i < n; ++i) out[i] = ops::rms_norm_gradient(g[i], v[i], c, scale);
  }
  return true;
}

bool sum_of_squares(const float* x, int64_t n, double* value) {
  uint32_t max = max_magnitude(x, n);
  if (max >= num::kInfinityBits) return false;
  int32_t e = num::group_exponent(max, 24);
  *value = ops::row_square(integer_square(x, num::quantiser_scale(e, 24), n), e);
  return true;
}

bool row_dot(const float* a, const float* b, int64_t n, float* out, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; ++row) {
    const float *u = a + row * n, *v = b + row * n;
    uint32_t max_u = max_magnitude(u, n), max_v = max_magnitude(v, n);
    if (max_u >= num::kInfinityBits || max_v >= num::kInfinityBits) return false;
    int32_t eu = num::group_exponent(max_u, 24), ev = num::group_exponent(max_v, 24);
    int64_t sum = integer_dot(u, num::quantiser_scale(eu, 24), v, num::quantiser_scale(ev, 24), n);
    out[row] = num::grid_value(sum, eu + ev - 48);
  }
  return true;
}

}  // namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE

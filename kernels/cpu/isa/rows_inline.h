/// Row loops shared by the quantiser, the norms and attention, written so that compilers vectorise them.
#pragma once

#include "kernels/cpu/isa/isa_config.h"
#include "kernels/cpu/isa/table.h"
#include "kernels/num/quantise.h"

namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE {

/// Bits of the largest magnitude; kInfinityBits or above if something is not finite.
FAIRWAY_INLINE uint32_t max_magnitude(const float* x, int64_t n) {
  uint32_t max = 0;
  for (int64_t i = 0; i < n; ++i) {
    uint32_t m = num::magnitude_bits(x[i]);
    max = m > max ? m : max;
  }
  return max;
}

/// Writes the slices of q = quantise(x * scale) for n values; 14 or 21 bits by the number of planes, 7 with one.
FAIRWAY_INLINE void write_slices(const float* __restrict x, int64_t n, float scale, int slices, int8_t* __restrict p0,
                                 int8_t* __restrict p1, int8_t* __restrict p2) {
  if (slices == 2) {
    for (int64_t i = 0; i < n; ++i) {
      int32_t q = num::quantise(x[i], scale);
      p0[i] = static_cast<int8_t>(num::upper_part(q));
      p1[i] = static_cast<int8_t>(num::low_slice(q));
    }
  } else if (slices == 3) {
    for (int64_t i = 0; i < n; ++i) {
      int32_t q = num::quantise(x[i], scale);
      int32_t upper = num::upper_part(q);
      p0[i] = static_cast<int8_t>(num::upper_part(upper));
      p1[i] = static_cast<int8_t>(num::low_slice(upper));
      p2[i] = static_cast<int8_t>(num::low_slice(q));
    }
  } else {
    for (int64_t i = 0; i < n; ++i) p0[i] = static_cast<int8_t>(num::quantise(x[i], scale));
  }
}

/// Quantises one row; false if it is not finite. Columns n..stride-1 become zero.
FAIRWAY_INLINE bool quantise_row(const float* x, int64_t n, int bits, const RowsOut& out, int64_t row) {
  uint32_t max = max_magnitude(x, n);
  if (max >= num::kInfinityBits) return false;
  int32_t e = num::group_exponent(max, bits);
  out.exponent[row] = e;
  const int slices = slices_of_bits(bits);
  int8_t* p[3];
  for (int s = 0; s < 3; ++s) p[s] = s < slices ? out.plane[s] + row * out.stride : nullptr;
  write_slices(x, n, num::quantiser_scale(e, bits), slices, p[0], p[1], p[2]);
  for (int s = 0; s < slices; ++s) {
    if (out.stride > n) __builtin_memset(p[s] + n, 0, static_cast<size_t>(out.stride - n));
  }
  return true;
}

/// Transposes a 64 x 64 tile of bytes: out[c * out_stride + r] = in[r][c].
FAIRWAY_INLINE void transpose_tile(const int8_t (*in)[64], int8_t* out, int64_t out_stride) {
  // 8 x 8 blocks held in eight 64-bit words; three rounds of swaps transpose each block.
  for (int64_t r = 0; r < 64; r += 8) {
    for (int64_t c = 0; c < 64; c += 8) {
      uint64_t w[8];
      for (int i = 0; i < 8; ++i) __builtin_memcpy(&w[i], &in[r + i][c], 8);
      for (int i = 0; i < 4; ++i) {
        uint64_t t = ((w[i] >> 32) ^ w[i + 4]) & 0x00000000ffffffffull;
        w[i + 4] ^= t;
        w[i] ^= t << 32;
      }
      for (int i : {0, 1, 4, 5}) {
        uint64_t t = ((w[i] >> 16) ^ w[i + 2]) & 0x0000ffff0000ffffull;
        w[i + 2] ^= t;
        w[i] ^= t << 16;
      }
      for (int i : {0, 2, 4, 6}) {
        uint64_t t = ((w[i] >> 8) ^ w[i + 1]) & 0x00ff00ff00ff00ffull;
        w[i + 1] ^= t;
        w[i] ^= t << 8;
      }
      for (int i = 0; i < 8; ++i) __builtin_memcpy(out + (c + i) * out_stride + r, &w[i], 8);
    }
  }
}

}  // namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE

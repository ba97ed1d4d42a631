/// Bit-level operations on binary32 and binary64: the only places where a float becomes an integer or a power of two.
///
/// Goals: no float-to-integer instruction on a value that was not range-checked (x86 and CUDA differ beyond the range),
/// no libm, and bodies that a compiler can vectorise. Non-goal: directed rounding; everything is round to nearest even.
#pragma once

#include "kernels/num/hd.h"

namespace fairway::num {

FAIRWAY_HD uint32_t bits_of(float x) {
  uint32_t u;
  __builtin_memcpy(&u, &x, sizeof u);
  return u;
}
FAIRWAY_HD float float_of(uint32_t u) {
  float x;
  __builtin_memcpy(&x, &u, sizeof x);
  return x;
}
FAIRWAY_HD uint64_t bits_of(double x) {
  uint64_t u;
  __builtin_memcpy(&u, &x, sizeof u);
  return u;
}
FAIRWAY_HD double double_of(uint64_t u) {
  double x;
  __builtin_memcpy(&x, &u, sizeof x);
  return x;
}

/// Bits of |x|. Ordered like the magnitudes, so a maximum over them has no rounding and no order.
FAIRWAY_HD uint32_t magnitude_bits(float x) { return bits_of(x) & 0x7fffffffu; }

/// First magnitude that is not finite (infinity; NaNs lie above it).
constexpr uint32_t kInfinityBits = 0x7f800000u;

FAIRWAY_HD float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
FAIRWAY_HD double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
FAIRWAY_HD float sqrt(float x) { return __builtin_sqrtf(x); }
FAIRWAY_HD double sqrt(double x) { return __builtin_sqrt(x); }
FAIRWAY_HD float absolute(float x) { return float_of(magnitude_bits(x)); }

/// 2^n as binary32, for -126 <= n <= 127.
FAIRWAY_HD float pow2_f32(int32_t n) { return float_of(static_cast<uint32_t>(n + 127) << 23); }
/// 2^n as binary64, for -1022 <= n <= 1023.
FAIRWAY_HD double pow2_f64(int32_t n) { return double_of(static_cast<uint64_t>(static_cast<int64_t>(n) + 1023) << 52); }

/// x * 2^n with at most one rounding (into the subnormals) and overflow to infinity, for |n| <= 800.
/// The product is exact in binary64, so the conversion is the only rounding.
FAIRWAY_HD float scale_pow2(float x, int32_t n) { return static_cast<float>(static_cast<double>(x) * pow2_f64(n)); }

/// round(x) to nearest even as an integer, for |x| <= 2^22: the addition of 1.5 * 2^23 rounds at unit weight.
FAIRWAY_HD int32_t round_to_int(float x) {
  return static_cast<int32_t>(bits_of(x + 12582912.0f) - 0x4b400000u);
}

/// round(x) to nearest even as an integer, for |x| < 2^51.
FAIRWAY_HD int64_t round_to_int64(double x) {
  return static_cast<int64_t>(bits_of(x + 6755399441055744.0) - 0x4338000000000000u);
}

/// round(x) to nearest even as an integer, for |x| <= 2^24; at and above 2^23 a binary32 is an integer already.
FAIRWAY_HD int32_t round_to_int24(float x) {
  return static_cast<int32_t>(round_to_int64(static_cast<double>(x)));
}

/// floor(x) as an integer, for |x| <= 2^21.
FAIRWAY_HD int32_t floor_to_int(float x) {
  int32_t n = round_to_int(x);
  return n - (static_cast<float>(n) > x ? 1 : 0);
}

}  // namespace fairway::num

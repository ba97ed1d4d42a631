/// bfloat16 and IEEE binary16 as rounding operations: values are held in binary32 (NUMERICS.md, N1).
///
/// Rounding is to nearest, ties to even; overflow gives infinity; a NaN stays a NaN.
#pragma once

#include "kernels/num/float_bits.h"

namespace fairway::num {

/// The upper 16 bits of x rounded to bfloat16.
FAIRWAY_HD uint16_t to_bf16_bits(float x) {
  uint32_t u = bits_of(x);
  if ((u & 0x7fffffffu) > kInfinityBits) return static_cast<uint16_t>((u >> 16) | 0x40u);
  return static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}
FAIRWAY_HD float from_bf16_bits(uint16_t h) { return float_of(static_cast<uint32_t>(h) << 16); }
FAIRWAY_HD float round_to_bf16(float x) { return from_bf16_bits(to_bf16_bits(x)); }

/// x rounded to binary16.
FAIRWAY_HD uint16_t to_fp16_bits(float x) {
  uint32_t u = bits_of(x);
  uint32_t sign = (u >> 16) & 0x8000u;
  uint32_t a = u & 0x7fffffffu;
  if (a > kInfinityBits) return static_cast<uint16_t>(sign | 0x7e00u);
  if (a >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65520 and above round to infinity
  if (a < 0x38800000u) {  // below 2^-14: subnormal, units of 2^-24; the product is exact
    return static_cast<uint16_t>(sign | static_cast<uint32_t>(round_to_int(float_of(a) * 16777216.0f)));
  }
  uint32_t rounded = a + 0xfffu + ((a >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}
FAIRWAY_HD float from_fp16_bits(uint16_t h) {
  uint32_t sign = static_cast<uint32_t>(h & 0x8000u) << 16;
  uint32_t exponent = (h >> 10) & 31u;
  uint32_t mantissa = h & 1023u;
  if (exponent == 31) return float_of(sign | kInfinityBits | (mantissa << 13));
  if (exponent == 0) return float_of(sign | bits_of(static_cast<float>(mantissa) * 5.9604644775390625e-8f));
  return float_of(sign | ((exponent + 112u) << 23) | (mantissa << 13));
}

}  // namespace fairway::num

/// The quantiser (NUMERICS.md, N4): a group of values shares one power of two and becomes integers.
///
/// q = rint(x * 2^(b - e)), ties to even, with the smallest e for which no |q| exceeds the limit of b.
#pragma once

#include "kernels/num/float_bits.h"

namespace fairway::num {

/// Exponents never go below this, so every scale 2^(b-e) and 2^(e-b) is a normal binary32 number.
constexpr int32_t kMinExponent = -100;

/// Largest |q| at b bits: what the slices of the matrix product can hold (b = 24 is never sliced).
FAIRWAY_HD int32_t quantiser_limit(int32_t bits) {
  return bits == 7 ? 127 : bits == 14 ? 16319 : bits == 21 ? 2088895 : 16777215;
}

/// The exponent of a group whose largest magnitude has the bits `max_bits` (finite).
/// With max = f * 2^E, f in [1/2, 1): E, or E + 1 if rint(max * 2^(b-E)) exceeds the limit; at least kMinExponent.
FAIRWAY_HD int32_t group_exponent(uint32_t max_bits, int32_t bits) {
  int32_t exponent = static_cast<int32_t>(max_bits >> 23) - 126;
  if (exponent < kMinExponent) return kMinExponent;
  float max = float_of((max_bits & 0x7fffffu) | (126u << 23));  // f
  return round_to_int24(max * pow2_f32(bits)) > quantiser_limit(bits) ? exponent + 1 : exponent;
}

/// 2^(b - e), the factor of the quantiser.
FAIRWAY_HD float quantiser_scale(int32_t exponent, int32_t bits) { return pow2_f32(bits - exponent); }

/// One element, b <= 21. `scale` = quantiser_scale(e, b).
FAIRWAY_HD int32_t quantise(float x, float scale) { return round_to_int(x * scale); }

/// One element, b = 24.
FAIRWAY_HD int32_t quantise24(float x, float scale) { return round_to_int24(x * scale); }

/// Slices: q = 128 * upper + slice, slice in -64..63. Taking the lowest first leaves an upper part within +-127
/// as long as |q| is within the limit.
FAIRWAY_HD int32_t low_slice(int32_t q) { return ((q + 64) & 127) - 64; }
FAIRWAY_HD int32_t upper_part(int32_t q) { return (q + 64) >> 7; }

}  // namespace fairway::num

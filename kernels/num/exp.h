/// Exponentials in binary32. Coefficients: kernels/num/derive_polynomials.py. Errors: tests/kernels/functions_test.cc.
#pragma once

#include "kernels/num/float_bits.h"

namespace fairway::num {

/// 2^f for f in [0, 1], both ends exact; the softmax's exponential after the integer part has become a shift.
/// Error: < 0.96 ulp; worst 0.9575 at 0x1.fe9772p-1, over every float from 2^-30 to 1. Result in [1, 2].
FAIRWAY_HD float exp2_unit(float f) {
  float p = 0x1.5bd2aep-16f;
  p = fma(p, f, 0x1.3262dep-13f);
  p = fma(p, f, 0x1.5efc6ap-10f);
  p = fma(p, f, 0x1.3b1a32p-7f);
  p = fma(p, f, 0x1.c6b14p-5f);
  p = fma(p, f, 0x1.ebfbdep-3f);
  p = fma(p, f, 0x1.62e43p-1f);
  return fma(p, f, 1.0f);
}

/// e^x. Error: < 1.09 ulp where the result is normal, worst 1.0808 at 0x1.4cbbcep+2 over every float beyond +-2^-30;
/// subnormal results are rounded once more: < 0.75 units of 2^-149.
/// Below -104 the result is that of -104, which is 0; above 89 it is infinity; a NaN stays a NaN.
FAIRWAY_HD float exp(float x) {
  float c = x < -104.0f ? -104.0f : x;
  c = c > 89.0f ? 89.0f : c;
  // k = round(c * log2 e) both as a float and, from the same bits, as an integer.
  float shifted = c * 0x1.715476p+0f + 12582912.0f;
  int32_t k = static_cast<int32_t>(bits_of(shifted) - 0x4b400000u);
  float kf = shifted - 12582912.0f;
  float r = fma(kf, -0x1.62e4p-1f, c);
  r = fma(kf, -0x1.7f7d1cp-20f, r);
  float p = 0x1.6d117cp-10f;
  p = fma(p, r, 0x1.120be2p-7f);
  p = fma(p, r, 0x1.555518p-5f);
  p = fma(p, r, 0x1.5554dcp-3f);
  p = fma(p, r, 0.5f);
  float e = 1.0f + fma(r * r, p, r);
  // Two exact powers of two (the first product stays normal), so that only the second may round.
  k = k < -160 ? -160 : k;
  k = k > 130 ? 130 : k;
  int32_t half = k >> 1;
  return e * pow2_f32(half) * pow2_f32(k - half);
}

}  // namespace fairway::num

/// Natural logarithm in binary32. Coefficients: kernels/num/derive_polynomials.py. Errors: tests/kernels/functions_test.cc.
#pragma once

#include "kernels/num/float_bits.h"

namespace fairway::num {

/// log(x). Error: < 0.84 ulp for every finite x > 0, subnormals included; worst 0.8348 at 0x1.67cc32p+0, over all of them.
/// log(0) = -infinity; a negative x or a NaN gives a NaN; log(infinity) = infinity.
FAIRWAY_HD float log(float x) {
  bool subnormal = x < 0x1p-126f;
  float y = subnormal ? x * 0x1p25f : x;
  // y = 2^k * m with m in [sqrt(1/2), sqrt(2)): 0x3f3504f3 are the bits of sqrt(1/2).
  uint32_t offset = bits_of(y) - 0x3f3504f3u;
  int32_t k = static_cast<int32_t>(offset) >> 23;
  float m = float_of((offset & 0x7fffffu) + 0x3f3504f3u);
  float kf = static_cast<float>(subnormal ? k - 25 : k);
  // log m = f - (h - s (h + R)) with f = m - 1, h = f^2/2, s = f/(2+f), R the tail of the series of log((1+s)/(1-s)).
  float f = m - 1.0f;
  float s = f / (2.0f + f);
  float z = s * s;
  float tail = 0x1.ddf01ap-3f;
  tail = fma(tail, z, 0x1.245ba6p-2f);
  tail = fma(tail, z, 0x1.9999ecp-2f);
  tail = fma(tail, z, 0x1.555556p-1f);
  float r = tail * z;
  float h = 0.5f * f * f;
  float low = fma(kf, 0x1.7f7d1cp-20f, s * (h + r));
  float result = fma(kf, 0x1.62e4p-1f, f - (h - low));
  result = x == 0.0f ? -float_of(kInfinityBits) : result;
  result = bits_of(x) == kInfinityBits ? x : result;
  return x < 0.0f || x != x ? float_of(0x7fc00000u) : result;
}

}  // namespace fairway::num

/// tanh and the logistic function in binary32. Errors: tests/kernels/functions_test.cc.
#pragma once

#include "kernels/num/exp.h"

namespace fairway::num {

/// tanh(x), odd to the bit. Error: < 1.34 ulp; worst 1.3367 at 0x1.34c5aap-1, over every float from 2^-14 up.
/// tanh(+-0) = +-0; tanh(+-infinity) = +-1; a NaN stays a NaN.
FAIRWAY_HD float tanh(float x) {
  float a = absolute(x);
  // Near zero an odd polynomial keeps the relative accuracy that 1 - 2/(e^2a + 1) would cancel away.
  float z = x * x;
  float p = 0x1.36bdb2p-9f;
  p = fma(p, z, -0x1.1394cap-7f);
  p = fma(p, z, 0x1.64fad8p-6f);
  p = fma(p, z, -0x1.ba0d94p-5f);
  p = fma(p, z, 0x1.1110f6p-3f);
  p = fma(p, z, -0x1.555556p-2f);
  float small = fma(x * z, p, x);
  float e = exp(2.0f * (a > 12.0f ? 12.0f : a));
  float large = 1.0f - 2.0f / (e + 1.0f);
  // `small` has its sign already, except at -0, where the polynomial's product and x cancel to +0.
  return float_of(bits_of(a < 0.6f ? small : large) | (bits_of(x) & 0x80000000u));
}

/// 1 / (1 + e^-x). Error: < 2.83 ulp where the result is normal; worst 2.8250 at -0x1.f4495ep+0, over every float beyond
/// +-2^-30 (1.50 for positive x). Above 2 because three roundings follow the exponential. A NaN stays a NaN.
FAIRWAY_HD float sigmoid(float x) {
  float e = exp(-absolute(x));
  float upper = 1.0f / (1.0f + e);
  return x < 0.0f ? e * upper : upper;
}

}  // namespace fairway::num

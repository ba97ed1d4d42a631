/// sin and cos in binary32, for rope tables and Box-Muller. Errors: tests/kernels/functions_test.cc.
#pragma once

#include "kernels/num/float_bits.h"

namespace fairway::num {

/// Largest |angle| for which the stated error holds; rope tables check it.
constexpr float kTrigLimit = 131072.0f;

struct SinCos {
  float sin;
  float cos;
};

/// sin(x) and cos(x) of the binary32 angle x in radians, |x| <= kTrigLimit. Error: < 1.58 ulp each;
/// worst 1.5627 (sin) at 0x1.3c7904p+15 and 1.5769 (cos) at 0x1.794a58p+11, over every float from 2^-14 to the limit.
/// pi/2 is subtracted in three parts by fma; the first subtraction is exact.
FAIRWAY_HD SinCos sin_cos(float x) {
  float shifted = x * 0x1.45f306p-1f + 12582912.0f;
  uint32_t quadrant = bits_of(shifted) - 0x4b400000u;
  float n = shifted - 12582912.0f;
  float r = fma(n, -0x1.921fb6p+0f, x);
  r = fma(n, 0x1.777a5cp-25f, r);
  r = fma(n, 0x1.ee59dap-50f, r);
  float z = r * r;
  float ps = 0x1.6dbbeep-19f;
  ps = fma(ps, z, -0x1.a013a2p-13f);
  ps = fma(ps, z, 0x1.11110ep-7f);
  ps = fma(ps, z, -0x1.555556p-3f);
  float s = fma(r * z, ps, r);
  float pc = -0x1.2522e6p-22f;
  pc = fma(pc, z, 0x1.a015cp-16f);
  pc = fma(pc, z, -0x1.6c16cp-10f);
  pc = fma(pc, z, 0x1.555556p-5f);
  float c = fma(z * z, pc, fma(z, -0.5f, 1.0f));
  bool swap = (quadrant & 1u) != 0;
  float sin_value = swap ? c : s;
  float cos_value = swap ? s : c;
  uint32_t sin_sign = (quadrant & 2u) << 30;
  uint32_t cos_sign = ((quadrant + 1u) & 2u) << 30;
  return {float_of(bits_of(sin_value) ^ sin_sign), float_of(bits_of(cos_value) ^ cos_sign)};
}

}  // namespace fairway::num

/// binary64 functions for scalars of a tensor or of a step: rope frequencies, schedules, bias corrections.
/// Every operation is one correctly rounded binary64 operation; errors are measured in tests/kernels/functions_test.cc.
#pragma once

#include "kernels/num/float_bits.h"

namespace fairway::num {

/// log2(x) for finite normal x > 0. Absolute error < 4e-16 + 2e-16 |log2 x|.
FAIRWAY_HD double log2_64(double x) {
  uint64_t offset = bits_of(x) - 0x3fe6a09e667f3bcdu;  // sqrt(1/2)
  double k = static_cast<double>(static_cast<int64_t>(offset) >> 52);
  double m = double_of((offset & 0xfffffffffffffu) + 0x3fe6a09e667f3bcdu);
  double s = (m - 1.0) / (m + 1.0);
  double z = s * s;
  // (2 / ln 2) * sum of s^(2j+1) / (2j+1), j = 0..11
  double p = 0x1.00ecd7e080215p-3;
  p = fma(p, z, 0x1.1964ec6fc9491p-3);
  p = fma(p, z, 0x1.3703c1f4d0ffep-3);
  p = fma(p, z, 0x1.5b9ac9b743f0dp-3);
  p = fma(p, z, 0x1.89f3b1694cffep-3);
  p = fma(p, z, 0x1.c68f568d31760p-3);
  p = fma(p, z, 0x1.0c9a84994022dp-2);
  p = fma(p, z, 0x1.484b13d7c02a9p-2);
  p = fma(p, z, 0x1.a61762a7aded9p-2);
  p = fma(p, z, 0x1.2776c50ef9bfep-1);
  p = fma(p, z, 0x1.ec709dc3a03fdp-1);
  p = fma(p, z, 0x1.71547652b82fep+1);
  return fma(s, p, k);
}

/// 2^x for |x| <= 1000. Relative error < 4e-16.
FAIRWAY_HD double exp2_64(double x) {
  int64_t n = round_to_int64(x);
  double r = (x - static_cast<double>(n)) * 0x1.62e42fefa39efp-1;
  double p = 0x1.93974a8c07c9dp-37;  // 1/14!, then down to 1/2!
  p = fma(p, r, 0x1.6124613a86d09p-33);
  p = fma(p, r, 0x1.1eed8eff8d898p-29);
  p = fma(p, r, 0x1.ae64567f544e4p-26);
  p = fma(p, r, 0x1.27e4fb7789f5cp-22);
  p = fma(p, r, 0x1.71de3a556c734p-19);
  p = fma(p, r, 0x1.a01a01a01a01ap-16);
  p = fma(p, r, 0x1.a01a01a01a01ap-13);
  p = fma(p, r, 0x1.6c16c16c16c17p-10);
  p = fma(p, r, 0x1.1111111111111p-7);
  p = fma(p, r, 0x1.5555555555555p-5);
  p = fma(p, r, 0x1.5555555555555p-3);
  p = fma(p, r, 0.5);
  p = fma(r * r, p, r);
  return (1.0 + p) * pow2_f64(static_cast<int32_t>(n));
}

/// base^exponent = 2^(exponent * log2 base), base > 0. Relative error < 1e-15 * (1 + |exponent * log2 base|).
FAIRWAY_HD double pow_64(double base, double exponent) { return exp2_64(exponent * log2_64(base)); }

/// base^n by squaring, least significant bit of n first: result *= base where the bit is set, then base *= base.
FAIRWAY_HD double pow_int_64(double base, uint64_t n) {
  double result = 1.0;
  for (; n != 0; n >>= 1) {
    if ((n & 1u) != 0) result = result * base;
    base = base * base;
  }
  return result;
}

}  // namespace fairway::num

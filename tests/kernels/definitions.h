/// The quantiser and the exact product, written a second time straight from the definition: frexp, ldexp and nearbyint
/// in binary64, plain int64 sums, and a rounding done on the integer's bits. Slow, and shares no code with kernels/.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/quantised.h"

namespace fairway::test {

inline int64_t limit_of(int bits) {
  return bits == 7 ? 127 : bits == 14 ? 16319 : bits == 21 ? 2088895 : (int64_t{1} << 24) - 1;
}

/// rint(x * 2^n), ties to even; exact scaling in binary64.
inline int64_t rounded(double x, int n) { return static_cast<int64_t>(std::nearbyint(std::ldexp(x, n))); }

/// One group of N4.
struct Group {
  int exponent;
  std::vector<int64_t> q;

  Group(const float* x, int64_t count, int64_t stride, int bits) {
    double max = 0.0;
    for (int64_t i = 0; i < count; ++i) max = std::fmax(max, std::fabs(static_cast<double>(x[i * stride])));
    exponent = -100;
    if (max != 0.0) {
      int e;
      std::frexp(max, &e);
      if (e >= -100) exponent = rounded(max, bits - e) > limit_of(bits) ? e + 1 : e;
    }
    q.resize(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) q[static_cast<size_t>(i)] = rounded(x[i * stride], bits - exponent);
  }
};

/// Slices of q, highest first: repeatedly q = 128 * rest + lowest with the lowest in -64..63.
inline std::array<int, 3> slices_of(int64_t q, int count) {
  std::array<int, 3> s{};
  for (int i = count - 1; i > 0; --i) {
    int64_t low = q % 128;
    if (low > 63) low -= 128;
    if (low < -64) low += 128;
    s[static_cast<size_t>(i)] = static_cast<int>(low);
    q = (q - low) / 128;
  }
  s[0] = static_cast<int>(q);
  return s;
}

/// fl32 of an integer, to nearest, ties to even, as (24-bit significand) * 2^shift.
inline double integer_to_binary32(int64_t s) {
  const bool negative = s < 0;
  uint64_t m = negative ? 0 - static_cast<uint64_t>(s) : static_cast<uint64_t>(s);
  int shift = 0;
  while ((m >> shift) >= (uint64_t{1} << 24)) ++shift;
  uint64_t kept = m >> shift;
  if (shift > 0) {
    const uint64_t rest = m & ((uint64_t{1} << shift) - 1), half = uint64_t{1} << (shift - 1);
    if (rest > half || (rest == half && (kept & 1) != 0)) ++kept;
  }
  const double value = std::ldexp(static_cast<double>(kept), shift);
  return negative ? -value : value;
}

/// fl32(s) * 2^n with at most one further rounding.
inline float scaled_integer(int64_t s, int n) { return static_cast<float>(std::ldexp(integer_to_binary32(s), n)); }

/// S of N5: the int64 sum of the kept slice products, each with its weight.
inline int64_t kept_products(const int64_t* a, const int64_t* b, int64_t count, kernels::Products products) {
  const int slices = products == kernels::Products::kS21 ? 3 : 2;
  int64_t sum = 0;
  for (int64_t k = 0; k < count; ++k) {
    const std::array<int, 3> x = slices_of(a[k], slices), y = slices_of(b[k], slices);
    for (int i = 0; i < slices; ++i) {
      for (int j = 0; j < slices; ++j) {
        const bool kept = products == kernels::Products::kP3   ? i + j < 2
                          : products == kernels::Products::kP4 ? true
                                                               : i + j <= 2;
        if (!kept) continue;
        sum += static_cast<int64_t>(x[static_cast<size_t>(i)]) * y[static_cast<size_t>(j)] *
               (int64_t{1} << (7 * (2 * (slices - 1) - i - j)));
      }
    }
  }
  return sum;
}

}  // namespace fairway::test

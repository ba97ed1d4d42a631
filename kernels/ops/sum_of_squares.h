/// Sums of squares over any number of values (NUMERICS.md, "Norms"): rows of 4,096 as binary64, these on a grid of 2^-40 of the largest.
#pragma once

#include "kernels/num/exact_sum.h"
#include "kernels/num/quantise.h"

namespace fairway::ops {

constexpr int64_t kSquareRow = 4096;

/// A row's value from its integer sum of q^2 at 24 bits.
FAIRWAY_HD double row_square(int64_t sum, int32_t exponent) { return static_cast<double>(sum) * num::pow2_f64(2 * (exponent - 24)); }

/// E with max = f * 2^E, f in [1/2, 1), from the bits; row values are normal (at least 2^-248) or zero.
FAIRWAY_HD int32_t square_exponent(double max) { return static_cast<int32_t>(num::bits_of(max) >> 52) - 1022; }

/// A row's value on the grid.
FAIRWAY_HD int64_t square_units(double value, int32_t exponent) { return num::round_to_int64(value * num::pow2_f64(40 - exponent)); }

/// The sum of the units as a number.
FAIRWAY_HD double square_total(int64_t units, int32_t exponent) { return static_cast<double>(units) * num::pow2_f64(exponent - 40); }

}  // namespace fairway::ops

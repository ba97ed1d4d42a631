/// The mean of the virtual workers' clipped gradients as an integer sum (NUMERICS.md, "Clipping per worker").
///
/// A clipped gradient has a norm of at most c (1 + 2^-20), so with c < 2^E no term exceeds 2^52 (1 + 2^-20) units of 2^(E - 52), and 1,024
/// workers stay below 2^63.
#pragma once

#include "kernels/num/exact_sum.h"

namespace fairway::ops {

constexpr int64_t kMaxWorkers = 1024;

/// E - 52 with E the smallest exponent for which clip_norm < 2^E; clip_norm is positive and normal.
FAIRWAY_HD int32_t worker_exponent(double clip_norm) { return static_cast<int32_t>(num::bits_of(clip_norm) >> 52) - 1022 - 52; }

/// 2^(52 - E), exact.
FAIRWAY_HD double worker_unit(double clip_norm) { return num::pow2_f64(-worker_exponent(clip_norm)); }

/// rint(g * unit). The product is exact; from 2^51 up it is an integer already.
FAIRWAY_HD int64_t worker_units(float g, double unit) {
  double scaled = static_cast<double>(g) * unit;
  return scaled < 0x1p51 && scaled > -0x1p51 ? num::round_to_int64(scaled) : static_cast<int64_t>(scaled);
}

/// The mean of `workers` clipped gradients from their sum on the grid 2^exponent.
FAIRWAY_HD float worker_mean(int64_t sum, int32_t exponent, float workers) { return num::grid_value(sum, exponent) / workers; }

}  // namespace fairway::ops

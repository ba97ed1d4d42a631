/// Grids: how a binary32 term of a sum becomes an integer, and the sum a binary32 number again (NUMERICS.md, N3, N7).
#pragma once

#include "kernels/num/float_bits.h"

namespace fairway::num {

/// Gradients are summed in units of 2^-30.
constexpr int32_t kGradientUnitLog2 = -30;
/// Terms of softmax denominators in units of 2^-30.
constexpr int32_t kProbabilityUnitLog2 = -30;
/// Losses (nll in nats) in units of 2^-26; an nll is below 2^10 or the run stops.
constexpr int32_t kLossUnitLog2 = -26;
constexpr float kLossLimit = 1024.0f;

/// x in units of 2^-30 rounded to nearest even, for |x| < 2^21.
FAIRWAY_HD int64_t gradient_units(float x) { return round_to_int64(static_cast<double>(x) * 0x1p30); }

/// The same for any |x| < 2^32. From 2^-6 up a binary32 is a multiple of 2^-30, so nothing is rounded there.
FAIRWAY_HD int64_t gradient_units_large(float x) {
  double units = static_cast<double>(x) * 0x1p30;
  return absolute(x) < 0x1p21f ? round_to_int64(units) : static_cast<int64_t>(units);
}

/// p * 2^30 rounded to nearest even, for 0 <= p < 2^20. To nearest, because rounding thousands of small terms down would add up:
/// with 8,192 logits the probabilities would sum to 1 + 4e-6.
FAIRWAY_HD int64_t probability_units(float p) { return round_to_int64(static_cast<double>(p) * 0x1p30); }

/// round(nll * 2^26), |nll| < kLossLimit.
FAIRWAY_HD int64_t loss_units(float nll) { return round_to_int64(static_cast<double>(nll) * 0x1p26); }

/// round(s * 2^n) to nearest even for |s| < 2^53 and |s * 2^n| < 2^51: a block sum moved to its accumulator's grid.
FAIRWAY_HD int64_t move_to_grid(double s, double pow2_n) { return round_to_int64(s * pow2_n); }

/// The same for an integer sum.
FAIRWAY_HD int64_t move_to_grid(int64_t s, double pow2_n) { return move_to_grid(static_cast<double>(s), pow2_n); }

/// fl32(sum) * 2^n: one rounding of the integer, then an exact power of two (one more rounding into the subnormals).
FAIRWAY_HD float grid_value(int64_t sum, int32_t n) { return scale_pow2(static_cast<float>(sum), n); }

}  // namespace fairway::num

/// Element bodies of causal attention in base 2 (NUMERICS.md, N5a).
#pragma once

#include "kernels/num/exact_sum.h"
#include "kernels/num/exp.h"
#include "kernels/num/quantise.h"

namespace fairway::ops {

/// Keys (queries) per canonical block. Part of the definition of every attention result.
constexpr int64_t kAttentionBlock = 64;
/// Most query heads that may share a key/value head.
constexpr int64_t kMaxAttentionGroup = 64;
/// Largest exponent a row of q, k, v or dO may have; above it the run stops.
constexpr int32_t kMaxAttentionExponent = 100;
/// Largest |t|, a score in base 2, whose integer part is taken; above it the run stops.
constexpr float kMaxScore = 2097152.0f;

/// fl32(log2(e) / sqrt(D)), computed in binary64.
FAIRWAY_HD float score_factor(int64_t head_dim) {
  return static_cast<float>(0x1.71547652b82fep+0 / num::sqrt(static_cast<double>(head_dim)));
}

/// t, a score in base 2, from the product of a query and a key.
FAIRWAY_HD float score(float product, float factor) { return product * factor; }

/// A probability before normalisation: p = f * 2^-shift with f = 2^frac(t) in [1, 2] and shift = row maximum - floor(t).
struct Probability {
  float p;         ///< 0 where the shift exceeds 126
  uint32_t units;  ///< p * 2^30 rounded to nearest even, at most 2^31
};

/// t = the score in base 2, max_floor = M, the largest floor(t) of the row. t more than 128 below M counts as M - 128.
/// A key that is not visible may have any t, even an infinity: it counts as at most M + 1, and the result is not used.
FAIRWAY_HD Probability probability(float t, int32_t max_floor) {
  float lowest = static_cast<float>(max_floor - 128);
  float highest = static_cast<float>(max_floor + 1);
  float c = t < lowest ? lowest : t;
  c = c > highest ? highest : c;
  int32_t n = num::floor_to_int(c);
  float f = num::exp2_unit(c - static_cast<float>(n));
  uint32_t shift = static_cast<uint32_t>(max_floor - n);
  uint32_t mantissa = num::bits_of(f) - 0x3f000000u;  // f * 2^23, 2^24 for f = 2
  float p = num::float_of(num::bits_of(f) - (shift << 23));
  // f * 2^30 shifted right, ties to even: half a unit less one, and one more if the kept part is odd. A shift of 32 leaves at
  // most a half, which goes to the even 0.
  uint32_t scaled = mantissa << 7, s = shift & 31u;
  uint32_t half = (1u << s) >> 1;
  uint32_t odd = (scaled >> s) & 1u;
  uint32_t units = s == 0u ? scaled : (scaled + half - 1u + odd) >> s;
  return {shift > 126u ? 0.0f : p, shift > 31u ? 0u : units};
}

/// Integers ordered like binary32 values (NaNs aside), so that a row maximum is an integer maximum.
FAIRWAY_HD int32_t ordered_bits(float x) {
  int32_t b = static_cast<int32_t>(num::bits_of(x));
  return b ^ ((b >> 31) & 0x7fffffff);
}
FAIRWAY_HD float from_ordered_bits(int32_t o) {
  return num::float_of(static_cast<uint32_t>(o ^ ((o >> 31) & 0x7fffffff)));
}

/// The row's normaliser, fl32(L) * 2^-30.
FAIRWAY_HD float row_sum(int64_t units) { return num::grid_value(units, num::kProbabilityUnitLog2); }

FAIRWAY_HD float inverse_row_sum(int64_t units) { return 1.0f / row_sum(units); }
FAIRWAY_HD float normalised(float p, float inverse) { return p * inverse; }

/// A term of a block sum before its quantiser: w * 2^e with the exponent of the operand's row, so that the block needs one exponent.
FAIRWAY_HD float block_term(float w, float pow2_e) { return w * pow2_e; }

/// The output from the sum of block sums on the grid 2^grid.
FAIRWAY_HD float attention_output(int64_t sum, int32_t grid, float normaliser) { return num::grid_value(sum, grid) / normaliser; }

/// A term of delta = sum_j P dP on the grid `unit` = 2^-grid.
FAIRWAY_HD int64_t delta_units(float p, float dp, double unit) { return num::round_to_int64(static_cast<double>(p * dp) * unit); }
/// dS = P (dP - delta).
FAIRWAY_HD float score_gradient(float p, float dp, float delta) { return p * (dp - delta); }

/// Grids of the gradients from the largest exponents over the sequence: of v's, and of q's (k's) with that of k (q).
FAIRWAY_HD int32_t value_gradient_grid(int32_t dout) { return dout - 40; }
FAIRWAY_HD int32_t score_gradient_grid(int32_t dout, int32_t v, int32_t other) { return dout + v + other - 36; }

/// fl32(1 / sqrt(D)), and a gradient times it.
FAIRWAY_HD float inverse_root(int64_t head_dim) { return static_cast<float>(1.0 / num::sqrt(static_cast<double>(head_dim))); }
FAIRWAY_HD float rooted(float x, float root) { return x * root; }

}  // namespace fairway::ops

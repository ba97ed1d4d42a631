/// Elements of a quantile of magnitudes and of the clip there (NUMERICS.md, section 17).
#pragma once

#include "kernels/num/float_bits.h"

namespace fairway::ops {

/// 99.99984 %, the quantile of the published exports. For rows of 512 it is the maximum less 0.0008 of the gap below
/// it.
constexpr float kExportQuantile = 0.9999984f;

/// d = fl(high - low); fma(weight, d, low) if weight < 1/2, else fma(-fl(1 - weight), d, high).
/// Finite low <= high, 0 <= weight <= 1.
FAIRWAY_HD float interpolate_quantile(float low, float high, float weight) {
  float difference = high - low;
  return weight < 0.5f ? num::fma(weight, difference, low) : num::fma(-(1.0f - weight), difference, high);
}

/// x limited to [-clip, clip]; clip >= 0.
FAIRWAY_HD float clip_to(float x, float clip) { return x < -clip ? -clip : (x > clip ? clip : x); }

}  // namespace fairway::ops

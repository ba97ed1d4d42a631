/// Fake quantisation of a row in steps with a floor (NUMERICS.md, 27.12).
#pragma once

#include "kernels/num/half.h"

namespace fairway::ops {

/// max(largest / limit, 1 / limit), `largest` the largest magnitude of the row.
FAIRWAY_HD float fake_step(float largest, float limit) {
  const float step = largest / limit, floor = 1.0f / limit;
  return step > floor ? step : floor;
}

/// bf16(rint(w / s) * s), for |w / s| <= 2^22.
FAIRWAY_HD float fake_quantised(float w, float s) { return num::round_to_bf16(static_cast<float>(num::round_to_int(w / s)) * s); }

}  // namespace fairway::ops

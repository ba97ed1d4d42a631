/// Elements of weight averages (NUMERICS.md, "Averages"): recurrences in time.
#pragma once

#include "kernels/num/hd.h"

namespace fairway::ops {

/// ema * decay + rest * w, rest = fl32(1 - decay).
FAIRWAY_HD float ema_element(float ema, float w, float decay, float rest) { return ema * decay + rest * w; }

}  // namespace fairway::ops

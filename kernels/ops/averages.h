/// Elements of weight averages (NUMERICS.md, "Averages"): recurrences in time.
#pragma once

#include "kernels/num/hd.h"

namespace fairway::ops {

/// ema * decay + rest * w, rest = fl32(1 - decay).
FAIRWAY_HD float ema_element(float ema, float w, float decay, float rest) { return ema * decay + rest * w; }

/// The sum of snapshots goes on by one.
FAIRWAY_HD float snapshot_element(float sum, float w) { return sum + w; }

}  // namespace fairway::ops

/// The derivative of a logistic gate (NUMERICS.md, "Gates").
#pragma once

#include "kernels/num/hd.h"

namespace fairway::ops {

/// d z of a gate g = sigmoid(z): dg * (g * (1 - g)).
FAIRWAY_HD float sigmoid_gradient(float dg, float g) { return dg * (g * (1.0f - g)); }

}  // namespace fairway::ops

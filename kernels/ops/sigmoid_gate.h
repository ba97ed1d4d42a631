/// The derivative of a logistic gate (NUMERICS.md, "Gates").
#pragma once

#include "kernels/num/tanh.h"

namespace fairway::ops {

/// d z of a gate g = sigmoid(z): dg * (g * (1 - g)).
FAIRWAY_HD float sigmoid_gradient(float dg, float g) { return dg * (g * (1.0f - g)); }

/// The gate of a head: sigmoid(z + bias).
FAIRWAY_HD float head_gate(float z, float bias) { return num::sigmoid(z + bias); }

/// 1 - s: what a gate leaves.
FAIRWAY_HD float complement(float s) { return 1.0f - s; }

}  // namespace fairway::ops

/// Elements of the smear gates: a token's vector mixed with its predecessor's (NUMERICS.md, "Smear gates").
#pragma once

#include "kernels/num/tanh.h"

namespace fairway::ops {

/// Channels that the gate of one scalar per token reads, and how much of the predecessor it lets through at most.
constexpr int64_t kSmearChannels = 12;
constexpr float kSmearReach = 0.07f;

/// y = keep * x + carry * previous.
FAIRWAY_HD float smear(float x, float previous, float keep, float carry) { return keep * x + carry * previous; }

/// What the gate of one scalar per token lets through; the same text takes the gradient of the gate from that of what it lets through.
FAIRWAY_HD float smear_reach(float gate) { return kSmearReach * gate; }

/// The per-token term of a channel gate's gradient: (dy * (raised - lowered)) * (s * (1 - s)), s = sigmoid(gate); `raised` is the
/// vector whose weight is s.
FAIRWAY_HD float smear_gate_term(float dy, float raised, float lowered, float s) {
  return (dy * (raised - lowered)) * (s * (1.0f - s));
}

}  // namespace fairway::ops

/// Logistic gates (NUMERICS.md, "Gates", "Smear gates").
#pragma once

#include <cstdint>

namespace fairway::kernels {

/// s = sigmoid(z), rest = 1 - s.
void sigmoid_gates(const float* z, int64_t count, float* s, float* rest);

/// gate = sigmoid(z + bias[head]), z (tokens, heads).
void head_gates(const float* z, const float* bias, int64_t tokens, int64_t heads, float* gate);

/// dz, which holds the gradient of the gate, becomes that before the sigmoid.
void sigmoid_gates_backward(const float* gate, int64_t count, float* dz);

}  // namespace fairway::kernels

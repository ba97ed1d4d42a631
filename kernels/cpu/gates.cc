#include "kernels/gates.h"

#include "kernels/cpu/parallel.h"
#include "kernels/ops/sigmoid_gate.h"

namespace fairway::kernels {
namespace {

constexpr int64_t kElements = 4096;

}  // namespace

void sigmoid_gates(const float* z, int64_t count, float* s, float* rest) {
  parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      s[i] = num::sigmoid(z[i]);
      rest[i] = ops::complement(s[i]);
    }
  });
}

void head_gates(const float* z, const float* bias, int64_t tokens, int64_t heads, float* gate) {
  parallel_ranges(tokens * heads, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) gate[i] = ops::head_gate(z[i], bias[i % heads]);
  });
}

void sigmoid_gates_backward(const float* gate, int64_t count, float* dz) {
  parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) dz[i] = ops::sigmoid_gradient(dz[i], gate[i]);
  });
}

}  // namespace fairway::kernels

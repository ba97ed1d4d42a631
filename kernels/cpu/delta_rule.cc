#include "kernels/delta_rule.h"

#include <atomic>

#include "kernels/buffer.h"
#include "kernels/check.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/parallel.h"
#include "kernels/ops/delta_rule.h"

namespace fairway::kernels {
namespace {

constexpr int64_t kTokens = 32;

/// body(sequence, head, memory of `floats`) for all of them; true if every call returned true.
template <class Body>
bool over_heads(const DeltaShape& s, int64_t floats, const Body& body) {
  FAIRWAY_CHECK(s.key_dim <= ops::kMaxDeltaSide && s.value_dim <= ops::kMaxDeltaSide &&
                s.key_dim * s.value_dim <= ops::kMaxDeltaState);
  std::atomic<bool> ok{true};
  parallel_for(s.sequences * s.heads, [&](int64_t i) {
    thread_local Buffer<float> memory;
    memory.resize(static_cast<size_t>(floats));
    if (!body(i / s.heads, i % s.heads, memory.data())) ok = false;
  });
  return ok;
}

}  // namespace

bool delta_rule(const DeltaForward& d) {
  const int64_t floats = 2 * d.shape.key_dim * d.shape.value_dim;
  return over_heads(d.shape, floats, [&](int64_t sequence, int64_t head, float* memory) {
    return table().delta_forward(d, sequence, head, memory);
  });
}

bool delta_rule_backward(const DeltaBackward& d) {
  return over_heads(
      d.shape, table().delta_backward_floats(d.shape),
      [&](int64_t sequence, int64_t head, float* memory) { return table().delta_backward(d, sequence, head, memory); });
}

void short_convolution(const float* x, const float* w, int64_t tokens, int64_t length, int64_t n, float* z, float* y) {
  parallel_ranges(tokens, kTokens, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t position = t % length;
      for (int64_t c = 0; c < n; ++c) {
        auto at = [&](int64_t back) { return position < back ? 0.0f : x[(t - back) * n + c]; };
        const float sum = ((w[c] * at(3) + w[n + c] * at(2)) + w[2 * n + c] * at(1)) + w[3 * n + c] * at(0);
        z[t * n + c] = sum;
        y[t * n + c] = ops::silu(sum);
      }
    }
  });
}

void short_convolution_backward(const float* dy, const float* z, const float* w, int64_t tokens, int64_t length,
                                int64_t n, float* dz, float* dx) {
  parallel_ranges(tokens * n, 16384, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) dz[i] = ops::silu_gradient(dy[i], z[i], num::sigmoid(z[i]));
  });
  parallel_ranges(tokens, kTokens, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t left = length - 1 - t % length;
      for (int64_t c = 0; c < n; ++c) {
        auto at = [&](int64_t ahead) { return left < ahead ? 0.0f : dz[(t + ahead) * n + c]; };
        dx[t * n + c] = ((w[3 * n + c] * at(0) + w[2 * n + c] * at(1)) + w[n + c] * at(2)) + w[c] * at(3);
      }
    }
  });
}

void moved_back(const float* x, int64_t taps, int64_t tokens, int64_t length, int64_t n, float* earlier) {
  parallel_ranges(tokens, kTokens, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const bool inside = t % length >= taps;
      for (int64_t c = 0; c < n; ++c) earlier[t * n + c] = inside ? x[(t - taps) * n + c] : 0.0f;
    }
  });
}

}  // namespace fairway::kernels

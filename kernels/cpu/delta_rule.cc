#include "kernels/delta_rule.h"

#include <atomic>

#include "kernels/buffer.h"
#include "kernels/check.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/parallel.h"
#include "kernels/ops/delta_rule.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/sigmoid_gate.h"

namespace fairway::kernels {
namespace {

constexpr int64_t kTokens = 32, kElements = 16384;

/// body(sequence, head, memory of `floats`) for all of them; true if every call returned true.
template <class Body>
bool over_heads(const DeltaShape& s, int64_t floats, const Body& body) {
  check_delta_shape(s);
  std::atomic<bool> ok{true};
  parallel_for(s.sequences * s.heads, [&](int64_t i) {
    thread_local Buffer<float> memory;
    memory.resize(static_cast<size_t>(floats));
    if (!body(i / s.heads, i % s.heads, memory.data())) ok = false;
  });
  return ok;
}

}  // namespace

void check_delta_shape(const DeltaShape& s) {
  FAIRWAY_CHECK(s.key_dim <= ops::kMaxDeltaSide && s.value_dim <= ops::kMaxDeltaSide &&
                s.key_dim * s.value_dim <= ops::kMaxDeltaState);
}

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
        const float sum = ops::convolved({w[c], w[n + c], w[2 * n + c], w[3 * n + c]}, {at(3), at(2), at(1), at(0)});
        z[t * n + c] = sum;
        y[t * n + c] = ops::silu(sum);
      }
    }
  });
}

void short_convolution_backward(const float* dy, const float* z, const float* w, int64_t tokens, int64_t length,
                                int64_t n, float* dz, float* dx) {
  parallel_ranges(tokens * n, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) dz[i] = ops::silu_gradient(dy[i], z[i], num::sigmoid(z[i]));
  });
  parallel_ranges(tokens, kTokens, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const int64_t left = length - 1 - t % length;
      for (int64_t c = 0; c < n; ++c) {
        auto at = [&](int64_t ahead) { return left < ahead ? 0.0f : dz[(t + ahead) * n + c]; };
        dx[t * n + c] = ops::convolved({w[3 * n + c], w[2 * n + c], w[n + c], w[c]}, {at(0), at(1), at(2), at(3)});
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

void delta_gates(const float* a, const float* b, const float* a_log, const float* dt_bias, int64_t tokens,
                 int64_t heads, float* rate, float* time, float* decay, float* beta) {
  for (int64_t h = 0; h < heads; ++h) rate[h] = num::exp(a_log[h]);
  parallel_ranges(tokens * heads, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t h = i % heads;
      time[i] = ops::delta_time(a[i], dt_bias[h]);
      decay[i] = ops::delta_decay(rate[h], time[i]);
      beta[i] = num::sigmoid(b[i]);
    }
  });
}

void delta_gates_backward(const DeltaGatesBackward& d) {
  parallel_ranges(d.tokens * d.heads, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t h = i % d.heads;
      const float gradient = ops::delta_exponent_gradient(d.decay[i], d.ddecay[i]);
      d.rate_terms[i] = ops::delta_rate_term(gradient, d.rate[h], d.time[i]);
      d.time_terms[i] = ops::delta_time_term(gradient, d.rate[h], d.a[i], d.dt_bias[h]);
      d.beta_terms[i] = ops::sigmoid_gradient(d.dbeta[i], d.beta[i]);
    }
  });
}

void swish_gate(const float* n, const float* w, const float* g, int64_t count, int64_t m, float* y) {
  parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = ops::swish_gated(n[i], w[i % m], g[i]);
  });
}

void swish_gate_backward(const float* dy, const float* n, const float* w, const float* g, int64_t count, int64_t m,
                         float* gated, float* dg) {
  parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      gated[i] = ops::product_term(dy[i], ops::silu(g[i]));
      dg[i] = ops::swish_gradient(dy[i], n[i], w[i % m], g[i], num::sigmoid(g[i]));
    }
  });
}

}  // namespace fairway::kernels

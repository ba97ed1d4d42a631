#include "kernels/smear.h"

#include <atomic>

#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/parallel.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/sigmoid_gate.h"
#include "kernels/ops/smear.h"

namespace fairway::kernels {
namespace {

constexpr int64_t kTokens = 32;

}  // namespace

void smear_channels(const float* x, const float* keep, const float* carry, int64_t tokens, int64_t length, int64_t n, float* y) {
  parallel_ranges(tokens, kTokens, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* row = x + t * n;
      if (t % length == 0) {
        for (int64_t c = 0; c < n; ++c) y[t * n + c] = keep[c] * row[c];
      } else {
        for (int64_t c = 0; c < n; ++c) y[t * n + c] = ops::smear(row[c], row[c - n], keep[c], carry[c]);
      }
    }
  });
}

void smear_channels_backward(const float* dy, const float* keep, const float* carry, int64_t tokens, int64_t length, int64_t n,
                             float* dx) {
  parallel_ranges(tokens, kTokens, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* row = dy + t * n;
      if (t % length == length - 1) {
        for (int64_t c = 0; c < n; ++c) dx[t * n + c] = keep[c] * row[c];
      } else {
        for (int64_t c = 0; c < n; ++c) dx[t * n + c] = ops::smear(row[c], row[c + n], keep[c], carry[c]);
      }
    }
  });
}

void smear_gate_terms(const float* dy, const float* x, const float* s, bool raises_previous, int64_t tokens, int64_t length, int64_t n,
                      float* terms) {
  parallel_ranges(tokens, kTokens, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const bool first = t % length == 0;
      for (int64_t c = 0; c < n; ++c) {
        const int64_t i = t * n + c;
        const float previous = first ? 0.0f : x[i - n];
        terms[i] = raises_previous ? ops::smear_gate_term(dy[i], previous, x[i], s[c]) : ops::smear_gate_term(dy[i], x[i], previous, s[c]);
      }
    }
  });
}

bool smear_tokens(const float* x, const float* w, float b, int64_t tokens, int64_t length, int64_t n, float* gate, float* y) {
  std::atomic<bool> ok{true};
  parallel_ranges(tokens, kTokens, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* row = x + t * n;
      float dot = 0.0f;
      if (!table().row_dot(w, row, ops::kSmearChannels, &dot, 0, 1)) ok = false;
      gate[t] = ops::head_gate(dot, b);
      const float carry = ops::smear_reach(gate[t]);
      const bool first = t % length == 0;
      for (int64_t c = 0; c < n; ++c) y[t * n + c] = first ? row[c] : ops::add_scaled(row[c], carry, row[c - n]);
    }
  });
  return ok;
}

bool smear_tokens_backward(const float* dy, const float* x, const float* w, const float* gate, int64_t tokens, int64_t length, int64_t n,
                           float* dz, float* terms, float* dx) {
  std::atomic<bool> ok{true};
  parallel_ranges(tokens, kTokens, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* row = dy + t * n;
      float dot = 0.0f;
      if (t % length != 0 && !table().row_dot(row, x + (t - 1) * n, n, &dot, 0, 1)) ok = false;
      dz[t] = ops::sigmoid_gradient(ops::smear_reach(dot), gate[t]);
      for (int64_t c = 0; c < ops::kSmearChannels; ++c) terms[t * ops::kSmearChannels + c] = ops::product_term(dz[t], x[t * n + c]);
      const bool last = t % length == length - 1;
      const float carry = last ? 0.0f : ops::smear_reach(gate[t + 1]);
      for (int64_t c = 0; c < n; ++c) {
        const float through = last ? row[c] : ops::add_scaled(row[c], carry, row[c + n]);
        dx[t * n + c] = c < ops::kSmearChannels ? ops::add_scaled(through, dz[t], w[c]) : through;
      }
    }
  });
  return ok;
}

}  // namespace fairway::kernels

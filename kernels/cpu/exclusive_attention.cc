#include "kernels/exclusive_attention.h"

#include <atomic>
#include <vector>

#include "kernels/check.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/parallel.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/exclusive_attention.h"

namespace fairway::kernels {
namespace {

constexpr int64_t kTokens = 16;

/// The gradient of the unit vector from `heads` rows of `n` terms: one group of 24-bit integers, |sum| < heads * 2^24. False if not finite.
bool sum_heads(const float* terms, int64_t heads, int64_t n, float* sum) {
  uint32_t max = 0;
  for (int64_t i = 0; i < heads * n; ++i) {
    const uint32_t m = num::magnitude_bits(terms[i]);
    max = m > max ? m : max;
  }
  if (max >= num::kInfinityBits) return false;
  const int32_t e = num::group_exponent(max, 24);
  const float scale = num::quantiser_scale(e, 24);
  for (int64_t d = 0; d < n; ++d) {
    int64_t s = 0;
    for (int64_t h = 0; h < heads; ++h) s += num::quantise24(terms[h * n + d], scale);
    sum[d] = ops::unit_gradient(s, e);
  }
  return true;
}

}  // namespace

bool exclude_value(const ExclusiveShape& s, const float* o, const float* v, float* unit, float* norm, float* along, float* y) {
  const int64_t n = s.head_dim, group = s.heads / s.kv_heads;
  std::atomic<bool> ok{true};
  parallel_ranges(s.tokens, kTokens, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin * s.kv_heads; row < end * s.kv_heads; ++row) {
      float square = 0.0f;
      if (!table().row_dot(v + row * n, v + row * n, n, &square, 0, 1)) ok = false;
      norm[row] = ops::value_norm(square);
      float* u = unit + row * n;
      for (int64_t d = 0; d < n; ++d) u[d] = ops::unit_value(v[row * n + d], norm[row]);
      // Query heads group * j ... group * j + group - 1 share key head j, so their rows follow each other.
      for (int64_t h = row * group; h < (row + 1) * group; ++h) {
        if (!table().row_dot(o + h * n, u, n, &along[h], 0, 1)) ok = false;
        for (int64_t d = 0; d < n; ++d) y[h * n + d] = ops::exclude(o[h * n + d], along[h], u[d]);
      }
    }
  });
  return ok;
}

bool exclude_value_backward(const ExclusiveShape& s, const float* dy, const float* o, const float* unit, const float* norm,
                            const float* along, float* d_o, float* dv) {
  const int64_t n = s.head_dim, group = s.heads / s.kv_heads;
  FAIRWAY_CHECK(group <= ops::kMaxAttentionGroup);
  std::atomic<bool> ok{true};
  parallel_ranges(s.tokens, kTokens, [&](int64_t begin, int64_t end) {
    std::vector<float> terms(static_cast<size_t>(group * n)), du(static_cast<size_t>(n));
    for (int64_t row = begin * s.kv_heads; row < end * s.kv_heads; ++row) {
      const float* u = unit + row * n;
      for (int64_t g = 0; g < group; ++g) {
        const int64_t h = row * group + g;
        float gradient_along = 0.0f;
        if (!table().row_dot(dy + h * n, u, n, &gradient_along, 0, 1)) ok = false;
        for (int64_t d = 0; d < n; ++d) {
          const float g_y = dy[h * n + d];
          d_o[h * n + d] = ops::exclude(g_y, gradient_along, u[d]);
          terms[static_cast<size_t>(g * n + d)] = ops::unit_gradient_term(along[h], g_y, gradient_along, o[h * n + d]);
        }
      }
      float projection = 0.0f;
      if (!sum_heads(terms.data(), group, n, du.data())) {
        ok = false;
        continue;
      }
      if (!table().row_dot(du.data(), u, n, &projection, 0, 1)) ok = false;
      for (int64_t d = 0; d < n; ++d) dv[row * n + d] = ops::value_gradient(du[static_cast<size_t>(d)], projection, u[d], norm[row]);
    }
  });
  return ok;
}

}  // namespace fairway::kernels

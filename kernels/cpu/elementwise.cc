#include "kernels/elementwise.h"

#include <atomic>
#include <cstring>

#include "kernels/check.h"
#include "kernels/cpu/parallel.h"
#include "kernels/num/half.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/rope.h"
#include "kernels/ops/sigmoid_gate.h"

namespace fairway::kernels {
namespace {

constexpr int64_t kElements = 16384;

/// body(row begin, row end) on ranges of about 16 Ki elements.
template <class Body>
void over_rows(int64_t rows, int64_t n, const Body& body) {
  parallel_ranges(rows, n >= kElements ? 1 : kElements / n, body);
}

}  // namespace

void mix(const float* x, const float* x0, const float* m0, const float* m1, int64_t rows, int64_t n, float* u) {
  over_rows(rows, n, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t c = 0; c < n; ++c) u[r * n + c] = ops::mixed(x[r * n + c], m0[c], x0[r * n + c], m1[c]);
    }
  });
}

void scaled_add(const float* x, const float* s, const float* a, int64_t rows, int64_t n, float* y) {
  over_rows(rows, n, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t c = 0; c < n; ++c) y[r * n + c] = ops::add_scaled(x[r * n + c], s[c], a[r * n + c]);
    }
  });
}

void interpolation_rates(const float* rate, float factor, int64_t n, float* step, float* rest, float* slope) {
  for (int64_t c = 0; c < n; ++c) {
    const float a = ops::scaled(rate[c], factor);
    step[c] = ops::step_size(a);
    rest[c] = ops::complement(step[c]);
    slope[c] = ops::step_slope(a, factor);
  }
}

void interpolate(const float* x, const float* a, const float* u, int64_t rows, int64_t n, float* y) {
  over_rows(rows, n, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t c = 0; c < n; ++c) y[r * n + c] = ops::interpolated(x[r * n + c], a[c], u[r * n + c]);
    }
  });
}

void scaled_difference(const float* u, const float* x, const float* s, int64_t rows, int64_t n, float* y) {
  over_rows(rows, n, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t c = 0; c < n; ++c) y[r * n + c] = ops::scaled_difference(u[r * n + c], x[r * n + c], s[c]);
    }
  });
}

void scale_channels(const float* x, const float* s, int64_t rows, int64_t n, float* y) {
  over_rows(rows, n, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t c = 0; c < n; ++c) y[r * n + c] = ops::scaled(x[r * n + c], s[c]);
    }
  });
}

void scale(const float* x, float s, int64_t count, float* y) {
  parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = ops::scaled(x[i], s);
  });
}

void scale_rows(const float* x, const float* s, int64_t rows, int64_t n, float* y) {
  over_rows(rows, n, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t c = 0; c < n; ++c) y[r * n + c] = ops::scaled(x[r * n + c], s[r]);
    }
  });
}

void add(const float* x, const float* a, int64_t count, float* y) {
  parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = ops::added(x[i], a[i]);
  });
}

void add_scaled(const float* x, float s, const float* a, int64_t count, float* y) {
  parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = ops::add_scaled(x[i], s, a[i]);
  });
}

void mix_scalars(const float* a, float s0, const float* b, float s1, int64_t count, float* y) {
  parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = ops::mixed(a[i], s0, b[i], s1);
  });
}

void add_to(const float* x, int64_t count, float* y) {
  parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = ops::added(y[i], x[i]);
  });
}

void relu_squared(const float* a, int64_t count, float* h) {
  parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) h[i] = ops::relu_squared(a[i]);
  });
}

void relu_squared_backward(const float* a, const float* dh, int64_t count, float* da) {
  parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) da[i] = ops::relu_squared_gradient(a[i], dh[i]);
  });
}

void leaky_relu_squared(const float* a, float slope, int64_t count, float* h) {
  parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) h[i] = ops::leaky_relu_squared(a[i], slope);
  });
}

void leaky_relu_squared_backward(const float* a, float slope, const float* dh, int64_t count, float* da) {
  parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) da[i] = ops::leaky_relu_squared_gradient(a[i], slope, dh[i]);
  });
}

void rope_table(int64_t length, int64_t width, double base, bool bf16_frequencies, float* table) {
  const int64_t half = width / 2;
  for (int64_t i = 0; i < half; ++i) {
    const float theta = ops::rope_frequency(base, i, width, bf16_frequencies);
    FAIRWAY_CHECK(static_cast<float>(length) * theta <= num::kTrigLimit);
    for (int64_t p = 0; p < length; ++p) {
      num::SinCos a = ops::rope_angle(p, theta);
      table[(p * half + i) * 2] = a.sin;
      table[(p * half + i) * 2 + 1] = a.cos;
    }
  }
}

void rope(float* x, int64_t tokens, int64_t length, int64_t heads, int64_t head_dim, int64_t width, const float* table, bool backward) {
  const int64_t half = width / 2;
  over_rows(tokens, heads * head_dim, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* angles = table + t % length * width;
      for (int64_t h = 0; h < heads; ++h) {
        float* v = x + (t * heads + h) * head_dim;
        for (int64_t i = 0; i < half; ++i) {
          num::SinCos a{angles[2 * i], angles[2 * i + 1]};
          ops::Pair p = backward ? ops::rotate_back(v[i], v[i + half], a) : ops::rotate(v[i], v[i + half], a);
          v[i] = p.first;
          v[i + half] = p.second;
        }
      }
    }
  });
}

void scale_heads(const float* x, const float* g, int64_t tokens, int64_t heads, int64_t head_dim, float* y) {
  over_rows(tokens, heads * head_dim, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * heads; i < end * heads; ++i) {
      const float gain = g[i % heads];
      for (int64_t d = 0; d < head_dim; ++d) y[i * head_dim + d] = ops::scaled(x[i * head_dim + d], gain);
    }
  });
}

void gather_rows(const float* table, const uint16_t* ids, int64_t tokens, int64_t n, float* y) {
  over_rows(tokens, n, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      std::memcpy(y + t * n, table + static_cast<int64_t>(ids[t]) * n, static_cast<size_t>(n) * sizeof(float));
    }
  });
}

void round_to_bf16(std::span<float> x) {
  parallel_ranges(static_cast<int64_t>(x.size()), kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) x[static_cast<size_t>(i)] = num::round_to_bf16(x[static_cast<size_t>(i)]);
  });
}

bool all_finite(std::span<const float> x) {
  std::atomic<bool> finite{true};
  parallel_ranges(static_cast<int64_t>(x.size()), kElements, [&](int64_t begin, int64_t end) {
    uint32_t max = 0;
    for (int64_t i = begin; i < end; ++i) {
      uint32_t m = num::magnitude_bits(x[static_cast<size_t>(i)]);
      max = m > max ? m : max;
    }
    if (max >= num::kInfinityBits) finite = false;
  });
  return finite;
}

}  // namespace fairway::kernels

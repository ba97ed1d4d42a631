/// Smear gates, gates of heads, exclusive attention and fake quantisation: kernels/smear.h, kernels/gates.h,
/// kernels/exclusive_attention.h, kernels/fake_quantise.h.
#pragma once

#include "kernels/cuda/bodies/rows.h"
#include "kernels/num/tanh.h"
#include "kernels/ops/exclusive_attention.h"
#include "kernels/ops/fake_quantise.h"
#include "kernels/ops/sigmoid_gate.h"
#include "kernels/ops/smear.h"

namespace fairway::cuda {

/// kernels::sigmoid_gates. An Element of Elements, like all before SmearTokens; the others are Rows of WarpRows.
struct SigmoidGates {
  const float* z;
  float *s, *rest;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    const float gate = num::sigmoid(g.load(z + i));
    g.store(s + i, gate);
    g.store(rest + i, ops::complement(gate));
  }
};

/// y = keep x + carry (x of the token before, or with kBackward after it); kernels::smear_channels and
/// smear_channels_backward.
template <bool kBackward>
struct SmearChannels {
  const float *x, *keep, *carry;
  int64_t length, n;
  float* y;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    const float k = g.load(keep + i % n), v = g.load(x + i);
    const bool alone = i / n % length == (kBackward ? length - 1 : 0);
    g.store(y + i,
            alone ? ops::scaled(v, k) : ops::smear(v, g.load(x + i + (kBackward ? n : -n)), k, g.load(carry + i % n)));
  }
};

/// kernels::smear_gate_terms.
struct SmearGateTerms {
  const float *dy, *x, *s;
  bool raises_previous;
  int64_t length, n;
  float* terms;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    const float own = g.load(x + i), previous = i / n % length == 0 ? 0.0f : g.load(x + i - n);
    g.store(terms + i, ops::smear_gate_term(g.load(dy + i), raises_previous ? previous : own,
                                            raises_previous ? own : previous, g.load(s + i % n)));
  }
};

/// kernels::head_gates.
struct HeadGates {
  const float *z, *bias;
  int64_t heads;
  float* gate;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(gate + i, ops::head_gate(g.load(z + i), g.load(bias + i % heads)));
  }
};
/// kernels::sigmoid_gates_backward.
struct SigmoidGradient {
  const float* gate;
  float* dz;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(dz + i, ops::sigmoid_gradient(g.load(dz + i), g.load(gate + i)));
  }
};

/// kernels::smear_tokens, by token.
struct SmearTokens {
  const float *x, *w, *b;
  int64_t length, n;
  float *gate, *y;
  uint32_t* failure;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t t, int lane) const {
    const float* row = x + t * n;
    float dot = 0.0f;
    if (!warp_dot(g, w, row, ops::kSmearChannels, failure, dot)) return;
    const float open = ops::head_gate(dot, g.load(b)), carry = ops::smear_reach(open);
    if (lane == 0) g.store(gate + t, open);
    const bool first = t % length == 0;
    for (int64_t c = lane; c < n; c += kWarp) {
      const float own = g.load(row + c);
      g.store(y + t * n + c, first ? own : ops::add_scaled(own, carry, g.load(row + c - n)));
    }
  }
};

/// kernels::smear_tokens_backward, by token.
struct SmearTokensBackward {
  const float *dy, *x, *w, *gate;
  int64_t length, n;
  float *dz, *terms, *dx;
  uint32_t* failure;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t t, int lane) const {
    const float* row = dy + t * n;
    // A first token has no predecessor that its gate could let through.
    float of_gate = 0.0f;
    if (t % length != 0) {
      float dot = 0.0f;
      if (!warp_dot(g, row, x + (t - 1) * n, n, failure, dot)) return;
      of_gate = ops::sigmoid_gradient(ops::smear_reach(dot), g.load(gate + t));
    }
    if (lane == 0) g.store(dz + t, of_gate);
    if (lane < ops::kSmearChannels)
      g.store(terms + t * ops::kSmearChannels + lane, ops::product_term(of_gate, g.load(x + t * n + lane)));
    const bool last = t % length == length - 1;
    const float carry = last ? 0.0f : ops::smear_reach(g.load(gate + t + 1));
    for (int64_t c = lane; c < n; c += kWarp) {
      const float own = g.load(row + c), through = last ? own : ops::add_scaled(own, carry, g.load(row + c + n));
      g.store(dx + t * n + c, c < ops::kSmearChannels ? ops::add_scaled(through, of_gate, g.load(w + c)) : through);
    }
  }
};

/// kernels::exclude_value, by token and key head. A lane goes back to the elements of `unit` that it wrote
/// itself, so nothing orders the lanes.
struct ExcludeValue {
  const float *o, *v;
  int64_t group, n;
  float *unit, *norm, *along, *y;
  uint32_t* failure;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t row, int lane) const {
    const float* value = v + row * n;
    float* u = unit + row * n;
    float square = 0.0f;
    if (!warp_dot(g, value, value, n, failure, square)) return;
    const float length = ops::value_norm(square);
    if (lane == 0) g.store(norm + row, length);
    for (int64_t d = lane; d < n; d += kWarp) g.store(u + d, ops::unit_value(g.load(value + d), length));
    for (int64_t h = row * group; h < (row + 1) * group; ++h) {
      float dot = 0.0f;
      if (!warp_dot(g, o + h * n, u, n, failure, dot)) return;
      if (lane == 0) g.store(along + h, dot);
      for (int64_t d = lane; d < n; d += kWarp)
        g.store(y + h * n + d, ops::exclude(g.load(o + h * n + d), dot, g.load(u + d)));
    }
  }
};

/// kernels::exclude_value_backward; dv holds the gradient of the unit vector in between.
struct ExcludeValueBackward {
  const float *dy, *o, *unit, *norm, *along;
  int64_t group, n;
  float *d_o, *dv;
  uint32_t* failure;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t row, int lane) const {
    const float* u = unit + row * n;
    float gradient_along[ops::kMaxAttentionGroup];
    const auto term = [&](int64_t h, int64_t d, float of_head) {
      return ops::unit_gradient_term(g.load(along + h), g.load(dy + h * n + d), of_head, g.load(o + h * n + d));
    };
    uint32_t max = 0;
    for (int64_t head = 0; head < group; ++head) {
      const int64_t h = row * group + head;
      if (!warp_dot(g, dy + h * n, u, n, failure, gradient_along[head])) return;
      for (int64_t d = lane; d < n; d += kWarp) {
        g.store(d_o + h * n + d, ops::exclude(g.load(dy + h * n + d), gradient_along[head], g.load(u + d)));
        const uint32_t m = num::magnitude_bits(term(h, d, gradient_along[head]));
        max = m > max ? m : max;
      }
    }
    if (!finite_in_warp(g, max, failure)) return;
    const int32_t e = num::group_exponent(max, 24);
    const float scale = num::quantiser_scale(e, 24);
    float* du = dv + row * n;
    for (int64_t d = lane; d < n; d += kWarp) {
      // A group has at least one head; a sum that begins with it leaves the compiler no empty sum to fold.
      int64_t sum = num::quantise24(term(row * group, d, gradient_along[0]), scale);
      for (int64_t head = 1; head < group; ++head)
        sum += num::quantise24(term(row * group + head, d, gradient_along[head]), scale);
      g.store(du + d, ops::unit_gradient(sum, e));
    }
    float projection = 0.0f;
    if (!warp_dot(g, du, u, n, failure, projection)) return;
    const float length = g.load(norm + row);
    for (int64_t d = lane; d < n; d += kWarp)
      g.store(du + d, ops::value_gradient(g.load(du + d), projection, g.load(u + d), length));
  }
};

/// The two largest of what the lanes of a warp hold, each lane the two largest of its own, in every lane.
template <class G>
FAIRWAY_BODY void warp_two_largest(G& g, uint32_t& first, uint32_t& second) {
  FAIRWAY_UNROLL for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const uint32_t other_first = g.shuffle_xor(first, mask), other_second = g.shuffle_xor(second, mask);
    const uint32_t loser = other_first < first ? other_first : first;
    second = other_second > second ? other_second : second;
    second = loser > second ? loser : second;
    first = other_first > first ? other_first : first;
  }
}

/// kernels::fake_quantise_rows. The quantile lies between the two largest magnitudes.
struct FakeQuantiseRows {
  const float* w;
  int64_t n;
  ops::FakeForm form;
  float weight;  ///< kernels::weight_of_largest
  float* out;
  uint32_t* failure;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t row, int lane) const {
    const auto input = [&](int64_t c) { return ops::fake_input(form, g.load(w + row * n + c)); };
    uint32_t first = 0, second = 0;
    for (int64_t c = lane; c < n; c += kWarp) {
      const uint32_t m = num::magnitude_bits(input(c)), loser = m < first ? m : first;
      second = loser > second ? loser : second;
      first = m > first ? m : first;
    }
    warp_two_largest(g, first, second);
    if (!finite_in_warp(g, first, failure)) return;
    const float largest = num::float_of(first);
    const float reach =
        ops::clips_at_quantile(form) ? ops::interpolate_quantile(num::float_of(second), largest, weight) : largest;
    const ops::FakeScale scale = ops::fake_scale(form, reach);
    for (int64_t c = lane; c < n; c += kWarp) g.store(out + row * n + c, ops::fake_quantised(input(c), scale));
  }
};

}  // namespace fairway::cuda

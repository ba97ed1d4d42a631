/// Gated delta layers: kernels/delta_rule.h. A state (key_dim, value_dim) belongs to one block, which walks along its
/// sequence; a thread owns columns of the state and of its gradient, so that only what crosses columns needs barriers.
#pragma once

#include "kernels/cuda/bodies/rows.h"
#include "kernels/delta_rule.h"
#include "kernels/ops/delta_rule.h"
#include "kernels/ops/sigmoid_gate.h"

namespace fairway::cuda {

/// A token as a block sees it.
struct DeltaToken {
  const float *q, *k, *v;
  float decay, beta;
};
template <class G, class D>
FAIRWAY_BODY DeltaToken delta_token(G& g, const D& d, const kernels::DeltaPlace& p) {
  return {d.q + p.key, d.k + p.key, d.v + p.value, g.load(d.decay + p.scalar), g.load(d.beta + p.scalar)};
}

/// What the threads of a block tell each other about a token.
struct DeltaShared {
  BlockScratch scratch;
  int32_t q[ops::kMaxDeltaSide], k[ops::kMaxDeltaSide];          ///< at 24 bits
  float read_q[ops::kMaxDeltaSide], read_k[ops::kMaxDeltaSide];  ///< S^T q, S^T k
  float miss[ops::kMaxDeltaSide], e[ops::kMaxDeltaSide];         ///< v - decay S^T k; beta times it
  float de[ops::kMaxDeltaSide], dr[ops::kMaxDeltaSide];          ///< gradients of e and of S^T k
};

/// What every thread knows of it.
struct DeltaLook {
  int32_t state, q, k;  ///< exponents
  float qk;             ///< dot(k, q)
};

/// The part of a body that goes along the tokens: sizes, and what forward and backward have in common.
struct DeltaWalk {
  int64_t n, m;  ///< key_dim, value_dim
  uint32_t* failure;

  /// f(j) for the columns of this thread.
  template <class G, class F>
  FAIRWAY_BODY void own_columns(G& g, const F& f) const {
    for (int64_t j = g.thread(); j < m; j += kRowThreads) f(j);
  }

  /// The exponent at 24 bits of a matrix (n, m); false, reported, if a value is not finite. Ends with a barrier.
  template <class G>
  FAIRWAY_BODY bool matrix_exponent(G& g, DeltaShared& s, const float* x, int32_t& exponent) const {
    uint32_t max = 0;
    own_columns(g, [&](int64_t j) {
      for (int64_t i = 0; i < n; ++i) {
        const uint32_t magnitude = num::magnitude_bits(g.load(x + i * m + j));
        max = magnitude > max ? magnitude : max;
      }
    });
    max = static_cast<uint32_t>(
        block_join(g, s.scratch, warp_max(g, max), [](int64_t a, int64_t b) { return a > b ? a : b; }));
    if (max >= num::kInfinityBits) {
      if (g.thread() == 0) g.atomic_or(failure, kNotFinite);
      return false;
    }
    exponent = num::group_exponent(max, 24);
    return true;
  }

  /// What a token's step computes from the state before it. Every warp does the same with q and k.
  template <class G>
  FAIRWAY_BODY bool look(G& g, DeltaShared& s, const float* state, const DeltaToken& t, DeltaLook& l) const {
    if (!row_exponent(g, t.q, n, failure, l.q) || !row_exponent(g, t.k, n, failure, l.k)) return false;
    l.qk = num::grid_value(row_integer_dot(g, t.k, l.k, t.q, l.q, n), l.k + l.q - 48);
    const float of_q = num::quantiser_scale(l.q, 24), of_k = num::quantiser_scale(l.k, 24);
    for (int64_t i = g.thread(); i < n; i += kRowThreads) {
      g.store(&s.q[i], num::quantise24(g.load(t.q + i), of_q));
      g.store(&s.k[i], num::quantise24(g.load(t.k + i), of_k));
    }
    if (!matrix_exponent(g, s, state, l.state)) return false;
    const float of_state = num::quantiser_scale(l.state, 24);
    own_columns(g, [&](int64_t j) {
      int64_t along_q = 0, along_k = 0;
      for (int64_t i = 0; i < n; ++i) {
        const int64_t value = num::quantise24(g.load(state + i * m + j), of_state);
        along_q += value * g.load(&s.q[i]);
        along_k += value * g.load(&s.k[i]);
      }
      const float read = num::grid_value(along_k, l.state + l.k - 48);
      const float miss = ops::delta_miss(g.load(t.v + j), t.decay, read);
      g.store(&s.read_q[j], num::grid_value(along_q, l.state + l.q - 48));
      g.store(&s.read_k[j], read);
      g.store(&s.miss[j], miss);
      g.store(&s.e[j], ops::scaled(miss, t.beta));
    });
    return true;
  }

  /// The state after the token; `after` may be `before`. Ends with a barrier.
  template <class G>
  FAIRWAY_BODY void advance(G& g, DeltaShared& s, const float* before, const DeltaToken& t, float* after) const {
    own_columns(g, [&](int64_t j) {
      const float e = g.load(&s.e[j]);
      for (int64_t i = 0; i < n; ++i) {
        const float next = ops::delta_state(g.load(before + i * m + j), t.decay, g.load(t.k + i), e);
        g.store(after + i * m + j, next);
      }
    });
    g.barrier();
  }

  template <class G>
  FAIRWAY_BODY void zero(G& g, float* x) const {
    own_columns(g, [&](int64_t j) {
      for (int64_t i = 0; i < n; ++i) g.store(x + i * m + j, 0.0f);
    });
  }
};

/// kernels::delta_rule: one block per sequence and head.
struct DeltaRule {
  static constexpr int kThreads = kRowThreads;
  using Shared = DeltaShared;
  kernels::DeltaForward d;
  float* states;  ///< (sequences, heads, key_dim, value_dim), working memory
  uint32_t* failure;

  FAIRWAY_HD_MEMBER int64_t blocks() const { return d.shape.sequences * d.shape.heads; }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    DeltaShared& s = g.template shared<DeltaShared>();
    const DeltaWalk walk{d.shape.key_dim, d.shape.value_dim, failure};
    float* state = states + g.block() * walk.n * walk.m;
    walk.zero(g, state);
    for (int64_t at = 0; at < d.shape.length; ++at) {
      const kernels::DeltaPlace p =
          kernels::delta_place(d.shape, g.block() / d.shape.heads, g.block() % d.shape.heads, at);
      const DeltaToken t = delta_token(g, d, p);
      DeltaLook l;
      if (!walk.look(g, s, state, t, l)) return;
      walk.own_columns(g, [&](int64_t j) {
        g.store(d.out + p.value + j, ops::mixed(g.load(&s.read_q[j]), t.decay, g.load(&s.e[j]), l.qk));
      });
      walk.advance(g, s, state, t, state);
    }
  }
};

/// kernels::delta_rule_backward: one block per sequence and head. States are kept every kKept tokens going forward;
/// those in between are computed again.
struct DeltaRuleBackward {
  static constexpr int kThreads = kRowThreads;
  static constexpr int64_t kKept = 64;
  using Shared = DeltaShared;
  kernels::DeltaBackward d;
  float* memory;  ///< floats(shape) per block
  uint32_t* failure;

  static FAIRWAY_HD_MEMBER int64_t spans(const kernels::DeltaShape& s) { return (s.length + kKept - 1) / kKept; }
  static FAIRWAY_HD_MEMBER int64_t floats(const kernels::DeltaShape& s) {
    return (spans(s) + kKept + 1) * s.key_dim * s.value_dim;
  }
  FAIRWAY_HD_MEMBER int64_t blocks() const { return d.shape.sequences * d.shape.heads; }

  template <class G>
  FAIRWAY_BODY kernels::DeltaPlace place(G& g, int64_t at) const {
    return kernels::delta_place(d.shape, g.block() / d.shape.heads, g.block() % d.shape.heads, at);
  }

  /// inside + i (n, m) becomes the state before token first + i for the `tokens` of a span, from the one at `kept`; and
  /// `next`, if it is not null, the state after them.
  template <class G>
  FAIRWAY_BODY bool forward(G& g, DeltaShared& s, const DeltaWalk& walk, int64_t first, int64_t tokens,
                            const float* kept, float* inside, float* next) const {
    const int64_t size = walk.n * walk.m;
    walk.own_columns(g, [&](int64_t j) {
      for (int64_t i = 0; i < walk.n; ++i) g.store(inside + i * walk.m + j, g.load(kept + i * walk.m + j));
    });
    for (int64_t i = 0; i < tokens; ++i) {
      const bool last = i == tokens - 1;
      if (last && next == nullptr) break;
      const DeltaToken t = delta_token(g, d, place(g, first + i));
      DeltaLook l;
      if (!walk.look(g, s, inside + i * size, t, l)) return false;
      walk.advance(g, s, inside + i * size, t, last ? next : inside + (i + 1) * size);
    }
    return true;
  }

  /// What goes back through one token, from the gradient of the state after it; that of the state before it takes its
  /// place.
  template <class G>
  FAIRWAY_BODY bool go_back(G& g, DeltaShared& s, const DeltaWalk& walk, int64_t at, const float* before,
                            float* gradient) const {
    const int64_t n = walk.n, m = walk.m;
    const kernels::DeltaPlace p = place(g, at);
    const DeltaToken t = delta_token(g, d, p);
    const float* dy = d.dout + p.value;
    DeltaLook l;
    int32_t of_gradient = 0;
    if (!walk.look(g, s, before, t, l) || !walk.matrix_exponent(g, s, gradient, of_gradient)) return false;
    const float gradient_scale = num::quantiser_scale(of_gradient, 24), state_scale = num::quantiser_scale(l.state, 24);
    walk.own_columns(g, [&](int64_t j) {
      int64_t sum = 0;
      for (int64_t i = 0; i < n; ++i)
        sum += static_cast<int64_t>(num::quantise24(g.load(gradient + i * m + j), gradient_scale)) * g.load(&s.k[i]);
      const float along = num::grid_value(sum, of_gradient + l.k - 48);
      const float de = ops::delta_error_gradient(l.qk, g.load(dy + j), along), dv = ops::scaled(de, t.beta);
      g.store(d.dv + p.value + j, dv);
      g.store(&s.de[j], de);
      g.store(&s.dr[j], -dv);
    });
    g.barrier();
    // Rows of values: every warp does the same, but for the rows of the state.
    int32_t of_dy = 0, of_e = 0, of_dr = 0, of_de = 0, of_miss = 0, of_read_k = 0, of_read_q = 0;
    if (!row_exponent(g, dy, m, failure, of_dy) || !row_exponent(g, s.e, m, failure, of_e) ||
        !row_exponent(g, s.dr, m, failure, of_dr) || !row_exponent(g, s.de, m, failure, of_de) ||
        !row_exponent(g, s.miss, m, failure, of_miss) || !row_exponent(g, s.read_k, m, failure, of_read_k) ||
        !row_exponent(g, s.read_q, m, failure, of_read_q)) {
      return false;
    }
    const auto dot = [&](const float* a, int32_t of_a, const float* b, int32_t of_b) {
      return num::grid_value(row_integer_dot(g, a, of_a, b, of_b, m), of_a + of_b - 48);
    };
    const float dqk = dot(dy, of_dy, s.e, of_e), dbeta = dot(s.de, of_de, s.miss, of_miss);
    const float along_k = dot(s.dr, of_dr, s.read_k, of_read_k), along_q = dot(dy, of_dy, s.read_q, of_read_q);
    for (int64_t i = g.thread() / kWarp; i < n; i += kRowsPerBlock) {
      const float through_state = dot(gradient + i * m, of_gradient, s.e, of_e);
      const float through_miss = dot(before + i * m, l.state, s.dr, of_dr);
      const float read = dot(before + i * m, l.state, dy, of_dy);
      if (g.thread() % kWarp != 0) continue;
      const float q = g.load(t.q + i), k = g.load(t.k + i);
      g.store(d.dk + p.key + i, ops::delta_key_gradient(through_state, t.decay, through_miss, dqk, q));
      g.store(d.dq + p.key + i, ops::mixed(read, t.decay, k, dqk));
    }
    int64_t sum = 0;
    walk.own_columns(g, [&](int64_t j) {
      for (int64_t i = 0; i < n; ++i) {
        sum += static_cast<int64_t>(num::quantise24(g.load(gradient + i * m + j), gradient_scale)) *
               num::quantise24(g.load(before + i * m + j), state_scale);
      }
    });
    // The barriers in here also end the reading of the gradient's rows.
    sum = block_join(g, s.scratch, warp_sum(g, sum), [](int64_t a, int64_t b) { return a + b; });
    if (g.thread() == 0) {
      const float along_state = num::grid_value(sum, of_gradient + l.state - 48);
      g.store(d.dbeta + p.scalar, dbeta);
      g.store(d.ddecay + p.scalar, ops::delta_decay_gradient(along_k, along_q, along_state));
    }
    walk.own_columns(g, [&](int64_t j) {
      const float of_output = g.load(dy + j), of_read = g.load(&s.dr[j]);
      for (int64_t i = 0; i < n; ++i) {
        float* x = gradient + i * m + j;
        g.store(x, ops::delta_state_gradient(g.load(x), t.decay, g.load(t.k + i), of_read, g.load(t.q + i), of_output));
      }
    });
    return true;
  }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    DeltaShared& s = g.template shared<DeltaShared>();
    const DeltaWalk walk{d.shape.key_dim, d.shape.value_dim, failure};
    const int64_t size = walk.n * walk.m, count = spans(d.shape);
    float *kept = memory + g.block() * floats(d.shape), *inside = kept + count * size,
          *gradient = inside + kKept * size;
    walk.zero(g, kept);
    walk.zero(g, gradient);
    for (int64_t span = 0; span + 1 < count; ++span) {
      float* from = kept + span * size;
      if (!forward(g, s, walk, span * kKept, kKept, from, inside, from + size)) return;
    }
    for (int64_t span = count - 1; span >= 0; --span) {
      const int64_t first = span * kKept, left = d.shape.length - first, tokens = left < kKept ? left : kKept;
      if (!forward(g, s, walk, first, tokens, kept + span * size, inside, nullptr)) return;
      for (int64_t i = tokens - 1; i >= 0; --i) {
        if (!go_back(g, s, walk, first + i, inside + i * size, gradient)) return;
      }
    }
  }
};

/// kernels::short_convolution. An Element of Elements, like all that follow.
struct ShortConvolution {
  const float *x, *w;
  int64_t length, n;
  float *z, *y;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    const int64_t c = i % n, position = i / n % length;
    float taps[ops::kConvolutionTaps], values[ops::kConvolutionTaps];
    FAIRWAY_UNROLL for (int back = 0; back < ops::kConvolutionTaps; ++back) {
      const int at = ops::kConvolutionTaps - 1 - back;
      taps[at] = g.load(w + at * n + c);
      values[at] = position < back ? 0.0f : g.load(x + i - back * n);
    }
    const float sum = ops::convolved(taps, values);
    g.store(z + i, sum);
    g.store(y + i, ops::silu(sum));
  }
};

/// dz of kernels::short_convolution_backward.
struct SiluBackward {
  const float *dy, *z;
  float* dz;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    const float sum = g.load(z + i);
    g.store(dz + i, ops::silu_gradient(g.load(dy + i), sum, num::sigmoid(sum)));
  }
};

/// dx of it.
struct ShortConvolutionBackward {
  const float *dz, *w;
  int64_t length, n;
  float* dx;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    const int64_t c = i % n, left = length - 1 - i / n % length;
    float taps[ops::kConvolutionTaps], values[ops::kConvolutionTaps];
    FAIRWAY_UNROLL for (int ahead = 0; ahead < ops::kConvolutionTaps; ++ahead) {
      taps[ahead] = g.load(w + (ops::kConvolutionTaps - 1 - ahead) * n + c);
      values[ahead] = left < ahead ? 0.0f : g.load(dz + i + ahead * n);
    }
    g.store(dx + i, ops::convolved(taps, values));
  }
};

/// kernels::moved_back.
struct MovedBack {
  const float* x;
  int64_t taps, length, n;
  float* earlier;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(earlier + i, i / n % length >= taps ? g.load(x + i - taps * n) : 0.0f);
  }
};

/// kernels::delta_gates.
struct DeltaGates {
  const float *a, *b, *a_log, *dt_bias;
  int64_t heads;
  float *rate, *time, *decay, *beta;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    const int64_t h = i % heads;
    const float of_head = num::exp(g.load(a_log + h)), passed = ops::delta_time(g.load(a + i), g.load(dt_bias + h));
    if (i < heads) g.store(rate + h, of_head);
    g.store(time + i, passed);
    g.store(decay + i, ops::delta_decay(of_head, passed));
    g.store(beta + i, num::sigmoid(g.load(b + i)));
  }
};

/// kernels::delta_gates_backward.
struct DeltaGatesBackward {
  kernels::DeltaGatesBackward d;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    const int64_t h = i % d.heads;
    const float gradient = ops::delta_exponent_gradient(g.load(d.decay + i), g.load(d.ddecay + i));
    const float rate = g.load(d.rate + h);
    g.store(d.rate_terms + i, ops::delta_rate_term(gradient, rate, g.load(d.time + i)));
    g.store(d.time_terms + i, ops::delta_time_term(gradient, rate, g.load(d.a + i), g.load(d.dt_bias + h)));
    g.store(d.beta_terms + i, ops::sigmoid_gradient(g.load(d.dbeta + i), g.load(d.beta + i)));
  }
};

/// kernels::swish_gate.
struct SwishGate {
  const float *n, *w, *gate;
  int64_t m;
  float* y;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(y + i, ops::swish_gated(g.load(n + i), g.load(w + i % m), g.load(gate + i)));
  }
};

/// kernels::swish_gate_backward.
struct SwishGateBackward {
  const float *dy, *n, *w, *gate;
  int64_t m;
  float *gated, *dg;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    const float of_output = g.load(dy + i), z = g.load(gate + i);
    g.store(gated + i, ops::product_term(of_output, ops::silu(z)));
    g.store(dg + i, ops::swish_gradient(of_output, g.load(n + i), g.load(w + i % m), z, num::sigmoid(z)));
  }
};

}  // namespace fairway::cuda

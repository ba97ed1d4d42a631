/// Element-by-element operations: kernels/elementwise.h, accumulators, optimizers. Each element has one thread; formulas are in kernels/ops.
#pragma once

#include "kernels/cuda/grid.h"
#include "kernels/num/half.h"
#include "kernels/ops/adam.h"
#include "kernels/ops/averages.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/muon.h"
#include "kernels/ops/rope.h"
#include "kernels/ops/sgd.h"
#include "kernels/ops/sigmoid_gate.h"
#include "kernels/ops/worker_mean.h"

namespace fairway::cuda {

/// element(g, i) for every i < count.
template <class Element>
struct Elements {
  static constexpr int kThreads = 256;
  using Shared = NoShared;
  int64_t count;
  Element element;

  FAIRWAY_HD_MEMBER int64_t blocks() const { return (count + kThreads - 1) / kThreads; }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    const int64_t i = g.block() * kThreads + g.thread();
    if (i < count) element(g, i);
  }
};

/// Where the second factor of an element stands: one per channel, per row, per head or one for all.
enum class Per { kChannel, kRow, kHead, kAll };

/// Of element i in rows of n: its channel; its row; or, in rows of `heads` heads of n values, its head.
template <Per kPer>
struct Index {
  int64_t n, heads = 1;
  FAIRWAY_HD_MEMBER int64_t of(int64_t i) const {
    return kPer == Per::kAll ? 0 : kPer == Per::kChannel ? i % n : kPer == Per::kRow ? i / n : i / n % heads;
  }
};

/// u = m0 x + m1 x0, per channel.
struct MixChannels {
  const float *x, *x0, *m0, *m1;
  int64_t n;
  float* u;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    const int64_t c = i % n;
    g.store(u + i, ops::mixed(g.load(x + i), g.load(m0 + c), g.load(x0 + i), g.load(m1 + c)));
  }
};

/// y = x + s a, s per channel.
struct AddScaledChannels {
  const float *x, *s, *a;
  int64_t n;
  float* y;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(y + i, ops::add_scaled(g.load(x + i), g.load(s + i % n), g.load(a + i)));
  }
};

/// kernels::interpolation_rates.
struct InterpolationRates {
  const float* rate;
  float factor;
  float *step, *rest, *slope;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t c) const {
    const float a = ops::scaled(g.load(rate + c), factor), size = ops::step_size(a);
    g.store(step + c, size);
    g.store(rest + c, ops::complement(size));
    g.store(slope + c, ops::step_slope(a, factor));
  }
};

/// y = x + a (u - x), a per channel.
struct Interpolate {
  const float *x, *a, *u;
  int64_t n;
  float* y;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(y + i, ops::interpolated(g.load(x + i), g.load(a + i % n), g.load(u + i)));
  }
};

/// y = s (u - x), s per channel.
struct ScaledDifference {
  const float *u, *x, *s;
  int64_t n;
  float* y;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(y + i, ops::scaled_difference(g.load(u + i), g.load(x + i), g.load(s + i % n)));
  }
};

/// y = s x.
template <Per kPer>
struct ScaleBy {
  const float *x, *s;
  Index<kPer> index;
  float* y;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(y + i, ops::scaled(g.load(x + i), g.load(s + index.of(i))));
  }
};

/// y = s x, one s.
struct Scale {
  const float* x;
  float s;
  float* y;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(y + i, ops::scaled(g.load(x + i), s));
  }
};

/// y = x + a; y may be x.
struct Add {
  const float *x, *a;
  float* y;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(y + i, ops::added(g.load(x + i), g.load(a + i)));
  }
};

/// y = x + s a, one s.
struct AddScaled {
  const float *x, *s, *a;
  float* y;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(y + i, ops::add_scaled(g.load(x + i), g.load(s), g.load(a + i)));
  }
};

/// y = s[0] a + s[1] b.
struct MixScalars {
  const float *a, *b, *s;
  float* y;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(y + i, ops::mixed(g.load(a + i), g.load(s), g.load(b + i), g.load(s + 1)));
  }
};

/// h = max(a, 0)^2.
struct ReluSquared {
  const float* a;
  float* h;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(h + i, ops::relu_squared(g.load(a + i)));
  }
};
struct ReluSquaredBackward {
  const float *a, *dh;
  float* da;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(da + i, ops::relu_squared_gradient(g.load(a + i), g.load(dh + i)));
  }
};

struct LeakyReluSquared {
  const float* a;
  float slope;
  float* h;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(h + i, ops::leaky_relu_squared(g.load(a + i), slope));
  }
};
struct LeakyReluSquaredBackward {
  const float* a;
  float slope;
  const float* dh;
  float* da;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(da + i, ops::leaky_relu_squared_gradient(g.load(a + i), slope, g.load(dh + i)));
  }
};

/// The rotation of pair i of x (tokens, heads, head_dim), count = tokens * heads * width / 2; see kernels::rope.
template <bool kBackward>
struct Rope {
  float* x;
  int64_t length, heads, head_dim, width;
  const float* table;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    const int64_t half = width / 2, pair = i % half, head = i / half % heads, token = i / half / heads;
    const float* angle = table + (token % length * half + pair) * 2;
    const num::SinCos a{g.load(angle), g.load(angle + 1)};
    float* v = x + (token * heads + head) * head_dim + pair;
    const float first = g.load(v), second = g.load(v + half);
    const ops::Pair p = kBackward ? ops::rotate_back(first, second, a) : ops::rotate(first, second, a);
    g.store(v, p.first);
    g.store(v + half, p.second);
  }
};

/// y[t] = table[ids[t]].
struct GatherRows {
  const float* table;
  const uint16_t* ids;
  int64_t n;
  float* y;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(y + i, g.load(table + static_cast<int64_t>(g.load(ids + i / n)) * n + i % n));
  }
};

struct RoundToBf16 {
  float* x;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(x + i, num::round_to_bf16(g.load(x + i)));
  }
};

/// Reports a value that is not finite.
struct CheckFinite {
  const float* x;
  uint32_t* failure;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    if (num::magnitude_bits(g.load(x + i)) >= num::kInfinityBits) g.atomic_or(failure, kNotFinite);
  }
};

/// g[i] = the mean gradient.
struct AccumulatedMean {
  const int64_t* acc;
  float divisor;
  float* mean;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(mean + i, ops::mean_gradient(g.load(acc + i), divisor));
  }
};

struct Adam {
  const float* gradient;
  bool bf16;
  ops::AdamStep step;
  float *m, *v, *w;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    float m1 = g.load(m + i), v1 = g.load(v + i), w1 = g.load(w + i);
    ops::adam_element(g.load(gradient + i), bf16, step, m1, v1, w1);
    g.store(m + i, m1);
    g.store(v + i, v1);
    g.store(w + i, w1);
  }
};

struct Sgd {
  const float* gradient;
  bool bf16;
  ops::SgdStep step;
  float *u, *w;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    float u1 = g.load(u + i), w1 = g.load(w + i);
    ops::sgd_element(g.load(gradient + i), bf16, step, u1, w1);
    g.store(u + i, u1);
    g.store(w + i, w1);
  }
};

/// u = the gradient becomes the input of the Newton-Schulz iteration.
struct MuonMomentum {
  float* u;
  float* momentum;
  float mu;
  bool bf16;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    float m = g.load(momentum + i);
    const float gradient = g.load(u + i);
    const float input = bf16 ? ops::muon_momentum_bf16(gradient, mu, m) : ops::muon_momentum(gradient, mu, m);
    g.store(momentum + i, m);
    g.store(u + i, input);
  }
};

struct MuonUpdate {
  float* w;
  const float* u;
  float shape_factor, lr, decay_before, decay_after;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(w + i, ops::muon_update(g.load(w + i), g.load(u + i), shape_factor, lr, decay_before, decay_after));
  }
};

struct ParallelMuonUpdate {
  float* w;
  const float* u;
  float scaled_lr, decay;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(w + i, ops::parallel_muon_update(g.load(w + i), g.load(u + i), scaled_lr, decay));
  }
};

/// kernels::add_worker.
struct AddWorker {
  const float* gradient;
  bool bf16;
  double unit;
  int64_t* sum;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    const float x = g.load(gradient + i);
    g.store(sum + i, g.load(sum + i) + ops::worker_units(bf16 ? num::round_to_bf16(x) : x, unit));
  }
};
/// kernels::worker_mean.
struct WorkerMean {
  const int64_t* sum;
  int32_t exponent;
  float workers;
  float* mean;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(mean + i, ops::worker_mean(g.load(sum + i), exponent, workers));
  }
};
/// kernels::average.
struct Average {
  const float* w;
  float decay, rest;
  float* ema;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(ema + i, ops::ema_element(g.load(ema + i), g.load(w + i), decay, rest));
  }
};

/// x / divisor of its matrix, matrices of `size` elements.
struct NewtonSchulzInput {
  float* x;
  const double* total;
  int64_t size;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(x + i, ops::newton_schulz_input(g.load(x + i), ops::newton_schulz_divisor(g.load(total + i / size))));
  }
};
struct NewtonSchulzPolynomial {
  const float* a;
  float* a2;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(a2 + i, ops::newton_schulz_polynomial(g.load(a + i), g.load(a2 + i)));
  }
};
struct NewtonSchulzNext {
  float* x;
  const float* px;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    g.store(x + i, ops::newton_schulz_next(g.load(x + i), g.load(px + i)));
  }
};

}  // namespace fairway::cuda

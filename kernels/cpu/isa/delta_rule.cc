#include "kernels/ops/delta_rule.h"

#include "kernels/cpu/isa/functions.h"
#include "kernels/cpu/isa/rows_inline.h"
#include "kernels/num/exact_sum.h"
#include "kernels/ops/elementwise.h"

namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE {
namespace {

/// States kept while going forward: every 64th; those in between are computed again from it.
constexpr int64_t kBlock = 64;

/// A row at 24 bits.
struct Integers {
  int32_t q[ops::kMaxDeltaSide];
  int32_t exponent;
};

FAIRWAY_INLINE bool to_integers(const float* __restrict x, int64_t n, int32_t* __restrict q, int32_t* exponent) {
  const uint32_t max = max_magnitude(x, n);
  if (max >= num::kInfinityBits) return false;
  *exponent = num::group_exponent(max, 24);
  const float scale = num::quantiser_scale(*exponent, 24);
  for (int64_t i = 0; i < n; ++i) q[i] = num::quantise24(x[i], scale);
  return true;
}
FAIRWAY_INLINE bool to_integers(const float* x, int64_t n, Integers& out) {
  return to_integers(x, n, out.q, &out.exponent);
}

FAIRWAY_INLINE int64_t dot_of(const int32_t* __restrict a, const int32_t* __restrict b, int64_t n) {
  int64_t sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<int64_t>(a[i]) * b[i];
  return sum;
}

FAIRWAY_INLINE void add_multiple(const int32_t* __restrict a, int32_t factor, int64_t n, int64_t* __restrict sum) {
  for (int64_t i = 0; i < n; ++i) sum[i] += static_cast<int64_t>(a[i]) * factor;
}

struct Token {
  const float *q, *k, *v;
  float decay, beta;
};

/// What a token's step computes from the state before it.
struct Step {
  Integers q, k;
  int32_t state_exponent;
  int64_t sums_k[ops::kMaxDeltaSide], sums_q[ops::kMaxDeltaSide];
  float read_k[ops::kMaxDeltaSide], read_q[ops::kMaxDeltaSide];  ///< S^T k, S^T q
  float miss[ops::kMaxDeltaSide], e[ops::kMaxDeltaSide];         ///< v - decay S^T k; beta times it
  float qk;                                                      ///< dot(k, q)
};

/// `integers`: working memory like the state; afterwards the state at 24 bits.
bool look(const float* state, const Token& t, int64_t n, int64_t m, int32_t* integers, Step& s) {
  if (!to_integers(t.q, n, s.q) || !to_integers(t.k, n, s.k) || !to_integers(state, n * m, integers, &s.state_exponent))
    return false;
  s.qk = num::grid_value(dot_of(s.k.q, s.q.q, n), s.k.exponent + s.q.exponent - 48);
  for (int64_t j = 0; j < m; ++j) s.sums_k[j] = s.sums_q[j] = 0;
  for (int64_t i = 0; i < n; ++i) {
    add_multiple(integers + i * m, s.k.q[i], m, s.sums_k);
    add_multiple(integers + i * m, s.q.q[i], m, s.sums_q);
  }
  for (int64_t j = 0; j < m; ++j) {
    s.read_k[j] = num::grid_value(s.sums_k[j], s.state_exponent + s.k.exponent - 48);
    s.read_q[j] = num::grid_value(s.sums_q[j], s.state_exponent + s.q.exponent - 48);
    s.miss[j] = ops::delta_miss(t.v[j], t.decay, s.read_k[j]);
    s.e[j] = ops::scaled(s.miss[j], t.beta);
  }
  return true;
}

void advance(const float* before, const Token& t, const Step& s, int64_t n, int64_t m, float* after) {
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < m; ++j) after[i * m + j] = ops::delta_state(before[i * m + j], t.decay, t.k[i], s.e[j]);
  }
}

template <class D>
FAIRWAY_INLINE Token token(const D& d, const DeltaPlace& p) {
  return {d.q + p.key, d.k + p.key, d.v + p.value, d.decay[p.scalar], d.beta[p.scalar]};
}

/// What goes back through one token, from the gradient of the state after it; that of the state before it takes its
/// place.
bool go_back(const DeltaBackward& d, const DeltaPlace& p, const float* before, float* gradient, int32_t* integers,
             int32_t* gradient_integers) {
  const int64_t n = d.shape.key_dim, m = d.shape.value_dim;
  const Token t = token(d, p);
  const float* dy = d.dout + p.value;
  Step s;
  Integers iy, ie, idr, ix;
  int32_t gradient_exponent;
  if (!look(before, t, n, m, integers, s) || !to_integers(gradient, n * m, gradient_integers, &gradient_exponent))
    return false;
  if (!to_integers(dy, m, iy) || !to_integers(s.e, m, ie)) return false;
  // Through the new state: along k to e, along e to k.
  for (int64_t j = 0; j < m; ++j) s.sums_k[j] = 0;
  for (int64_t i = 0; i < n; ++i) add_multiple(gradient_integers + i * m, s.k.q[i], m, s.sums_k);
  float de[ops::kMaxDeltaSide], dr[ops::kMaxDeltaSide];
  for (int64_t j = 0; j < m; ++j) {
    de[j] = ops::delta_error_gradient(s.qk, dy[j], num::grid_value(s.sums_k[j], gradient_exponent + s.k.exponent - 48));
    d.dv[p.value + j] = ops::scaled(de[j], t.beta);
    dr[j] = -d.dv[p.value + j];
  }
  const float dqk = num::grid_value(dot_of(iy.q, ie.q, m), iy.exponent + ie.exponent - 48);
  Integers ide;
  if (!to_integers(dr, m, idr) || !to_integers(de, m, ide) || !to_integers(s.miss, m, ix)) return false;
  d.dbeta[p.scalar] = num::grid_value(dot_of(ide.q, ix.q, m), ide.exponent + ix.exponent - 48);
  for (int64_t i = 0; i < n; ++i) {
    const int32_t* row = integers + i * m;
    const float through_state =
        num::grid_value(dot_of(gradient_integers + i * m, ie.q, m), gradient_exponent + ie.exponent - 48);
    const float through_miss = num::grid_value(dot_of(row, idr.q, m), s.state_exponent + idr.exponent - 48);
    const float read = num::grid_value(dot_of(row, iy.q, m), s.state_exponent + iy.exponent - 48);
    d.dk[p.key + i] = ops::delta_key_gradient(through_state, t.decay, through_miss, dqk, t.q[i]);
    d.dq[p.key + i] = ops::mixed(read, t.decay, t.k[i], dqk);
  }
  Integers ir;
  if (!to_integers(s.read_k, m, ir)) return false;
  const float along_k = num::grid_value(dot_of(idr.q, ir.q, m), idr.exponent + ir.exponent - 48);
  if (!to_integers(s.read_q, m, ir)) return false;
  const float along_q = num::grid_value(dot_of(iy.q, ir.q, m), iy.exponent + ir.exponent - 48);
  const float along_state =
      num::grid_value(dot_of(gradient_integers, integers, n * m), gradient_exponent + s.state_exponent - 48);
  d.ddecay[p.scalar] = ops::delta_decay_gradient(along_k, along_q, along_state);
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < m; ++j) {
      gradient[i * m + j] = ops::delta_state_gradient(gradient[i * m + j], t.decay, t.k[i], dr[j], t.q[i], dy[j]);
    }
  }
  return true;
}

}  // namespace

bool delta_forward(const DeltaForward& d, int64_t sequence, int64_t head, float* memory) {
  const int64_t n = d.shape.key_dim, m = d.shape.value_dim;
  float* state = memory;
  int32_t* integers = reinterpret_cast<int32_t*>(memory + n * m);
  for (int64_t i = 0; i < n * m; ++i) state[i] = 0.0f;
  Step s;
  for (int64_t at = 0; at < d.shape.length; ++at) {
    const DeltaPlace p = delta_place(d.shape, sequence, head, at);
    const Token t = token(d, p);
    if (!look(state, t, n, m, integers, s)) return false;
    for (int64_t j = 0; j < m; ++j) d.out[p.value + j] = ops::mixed(s.read_q[j], t.decay, s.e[j], s.qk);
    advance(state, t, s, n, m, state);
  }
  return true;
}

int64_t delta_backward_floats(const DeltaShape& s) {
  const int64_t blocks = (s.length + kBlock - 1) / kBlock;
  return (blocks + kBlock + 3) * s.key_dim * s.value_dim;
}

bool delta_backward(const DeltaBackward& d, int64_t sequence, int64_t head, float* memory) {
  const int64_t n = d.shape.key_dim, m = d.shape.value_dim, size = n * m, length = d.shape.length;
  const int64_t blocks = (length + kBlock - 1) / kBlock;
  float *kept = memory, *inside = kept + blocks * size, *gradient = inside + kBlock * size;
  int32_t *integers = reinterpret_cast<int32_t*>(gradient + size), *gradient_integers = integers + size;
  Step s;
  // inside[i] is the state before token i of the block.
  auto forward = [&](int64_t block, int64_t tokens) {
    for (int64_t i = 0; i < size; ++i) inside[i] = kept[block * size + i];
    for (int64_t i = 0; i + 1 < tokens; ++i) {
      const Token t = token(d, delta_place(d.shape, sequence, head, block * kBlock + i));
      if (!look(inside + i * size, t, n, m, integers, s)) return false;
      advance(inside + i * size, t, s, n, m, inside + (i + 1) * size);
    }
    return true;
  };
  for (int64_t i = 0; i < size; ++i) kept[i] = gradient[i] = 0.0f;
  for (int64_t block = 0; block + 1 < blocks; ++block) {
    if (!forward(block, kBlock)) return false;
    const float* last = inside + (kBlock - 1) * size;
    const Token t = token(d, delta_place(d.shape, sequence, head, block * kBlock + kBlock - 1));
    if (!look(last, t, n, m, integers, s)) return false;
    advance(last, t, s, n, m, kept + (block + 1) * size);
  }
  for (int64_t block = blocks - 1; block >= 0; --block) {
    const int64_t left = length - block * kBlock, tokens = left < kBlock ? left : kBlock;
    if (!forward(block, tokens)) return false;
    for (int64_t i = tokens - 1; i >= 0; --i) {
      const DeltaPlace p = delta_place(d.shape, sequence, head, block * kBlock + i);
      if (!go_back(d, p, inside + i * size, gradient, integers, gradient_integers)) return false;
    }
  }
  return true;
}

}  // namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE

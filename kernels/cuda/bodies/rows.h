/// Row-wise operations with integer sums (kernels/rows.h) and gradient accumulators (kernels/accumulate.h).
#pragma once

#include "kernels/cuda/grid.h"
#include "kernels/num/quantise.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/cross_entropy.h"
#include "kernels/ops/elementwise.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/sum_of_squares.h"

namespace fairway::cuda {

constexpr int kRowThreads = 256, kRowsPerBlock = kRowThreads / kWarp;

/// row(g, r, lane) for every r < count, by one warp each.
template <class Row>
struct WarpRows {
  static constexpr int kThreads = kRowThreads;
  using Shared = NoShared;
  int64_t count;
  Row row;

  FAIRWAY_HD_MEMBER int64_t blocks() const { return (count + kRowsPerBlock - 1) / kRowsPerBlock; }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    const int64_t r = g.block() * kRowsPerBlock + g.thread() / kWarp;
    if (r < count) row(g, r, g.thread() % kWarp);
  }
};

/// The largest of the lanes' magnitudes, as bits, in every lane of a warp; false, reported, if it is not finite.
template <class G>
FAIRWAY_BODY bool finite_in_warp(G& g, uint32_t& max, uint32_t* failure) {
  max = warp_max(g, max);
  if (max < num::kInfinityBits) return true;
  if (g.thread() % kWarp == 0) g.atomic_or(failure, kNotFinite);
  return false;
}

/// Likewise the largest magnitude of a row, by one warp.
template <class G>
FAIRWAY_BODY bool row_magnitude(G& g, const float* x, int64_t n, uint32_t* failure, uint32_t& max) {
  max = 0;
  for (int64_t i = g.thread() % kWarp; i < n; i += kWarp) {
    const uint32_t m = num::magnitude_bits(g.load(x + i));
    max = m > max ? m : max;
  }
  return finite_in_warp(g, max, failure);
}

/// Likewise the exponent of a row at 24 bits.
template <class G>
FAIRWAY_BODY bool row_exponent(G& g, const float* x, int64_t n, uint32_t* failure, int32_t& exponent) {
  uint32_t max = 0;
  if (!row_magnitude(g, x, n, failure, max)) return false;
  exponent = num::group_exponent(max, 24);
  return true;
}

/// The integer sum of q_a q_b over a row, in every lane; |sum| < n * 2^48.
template <class G>
FAIRWAY_BODY int64_t row_integer_dot(G& g, const float* a, int32_t ea, const float* b, int32_t eb, int64_t n) {
  const float sa = num::quantiser_scale(ea, 24), sb = num::quantiser_scale(eb, 24);
  int64_t sum = 0;
  for (int64_t i = g.thread() % kWarp; i < n; i += kWarp) {
    sum += static_cast<int64_t>(num::quantise24(g.load(a + i), sa)) * num::quantise24(g.load(b + i), sb);
  }
  return warp_sum(g, sum);
}

/// The dot product of two rows as kernels::row_dot gives it, by one warp, in every lane; false, reported, if a value is not
/// finite.
template <class G>
FAIRWAY_BODY bool warp_dot(G& g, const float* a, const float* b, int64_t n, uint32_t* failure, float& dot) {
  int32_t ea = 0, eb = 0;
  if (!row_exponent(g, a, n, failure, ea) || !row_exponent(g, b, n, failure, eb)) return false;
  dot = num::grid_value(row_integer_dot(g, a, ea, b, eb, n), ea + eb - 48);
  return true;
}

/// kernels::rms_norm. A Row of WarpRows, like all before CrossEntropy.
struct RmsNorm {
  const float* x;
  int64_t n;
  float *y, *r;
  uint32_t* failure;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t row, int lane) const {
    const float* in = x + row * n;
    int32_t e = 0;
    if (!row_exponent(g, in, n, failure, e)) return;
    const float factor = ops::rms_norm_scale(row_integer_dot(g, in, e, in, e, n), e, n);
    if (lane == 0) g.store(r + row, factor);
    for (int64_t i = lane; i < n; i += kWarp) g.store(y + row * n + i, ops::scaled(g.load(in + i), factor));
  }
};

/// kernels::rms_norm_backward.
struct RmsNormBackward {
  const float *dy, *y, *r;
  int64_t n;
  float* dx;
  uint32_t* failure;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t row, int lane) const {
    const float *u = dy + row * n, *v = y + row * n;
    int32_t eu = 0, ev = 0;
    if (!row_exponent(g, u, n, failure, eu) || !row_exponent(g, v, n, failure, ev)) return;
    const float c = ops::rms_norm_projection(row_integer_dot(g, u, eu, v, ev, n), eu, ev, n);
    const float factor = g.load(r + row);
    for (int64_t i = lane; i < n; i += kWarp) {
      g.store(dx + row * n + i, ops::rms_norm_gradient(g.load(u + i), g.load(v + i), c, factor));
    }
  }
};

/// kernels::row_dot.
struct RowDot {
  const float *a, *b;
  int64_t n;
  float* out;
  uint32_t* failure;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t row, int lane) const {
    float dot = 0.0f;
    if (!warp_dot(g, a + row * n, b + row * n, n, failure, dot)) return;
    if (lane == 0) g.store(out + row, dot);
  }
};

/// values[t * rows_per_tensor + r] = the sum of squares of row r of tensor t; r and t from the index of all rows;
/// tensors of `count` values, one after the other. The last row of a tensor may be shorter.
struct SquareRows {
  const float* x;
  int64_t count;
  double* values;
  uint32_t* failure;

  FAIRWAY_HD_MEMBER int64_t rows_per_tensor() const { return (count + ops::kSquareRow - 1) / ops::kSquareRow; }
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t index, int lane) const {
    const int64_t tensor = index / rows_per_tensor(), first = index % rows_per_tensor() * ops::kSquareRow;
    const int64_t n = count - first < ops::kSquareRow ? count - first : ops::kSquareRow;
    const float* row = x + tensor * count + first;
    int32_t e = 0;
    if (!row_exponent(g, row, n, failure, e)) return;
    const int64_t sum = row_integer_dot(g, row, e, row, e, n);
    if (lane == 0) g.store(values + index, ops::row_square(sum, e));
  }
};

/// totals[t] = the sum of `rows` values on a grid of 2^-40 of the largest; 0 if all are. A tensor is a Row.
struct SquareTotals {
  const double* values;
  int64_t rows;
  double* totals;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t tensor, int lane) const {
    const double* v = values + tensor * rows;
    // Bits of values that are not negative are ordered like the values.
    uint64_t max = 0;
    for (int64_t i = lane; i < rows; i += kWarp) {
      const uint64_t bits = num::bits_of(g.load(v + i));
      max = bits > max ? bits : max;
    }
    max = warp_max(g, max);
    const int32_t exponent = ops::square_exponent(num::double_of(max));
    int64_t sum = 0;
    if (max != 0) {
      for (int64_t i = lane; i < rows; i += kWarp) sum += ops::square_units(g.load(v + i), exponent);
    }
    sum = warp_sum(g, sum);
    if (lane == 0) g.store(totals + tensor, max == 0 ? 0.0 : ops::square_total(sum, exponent));
  }
};

struct BlockScratch {
  int64_t value[kRowsPerBlock];
};

/// One value per warp, joined by `join`, in every thread of the block.
template <class G, class T, class Join>
FAIRWAY_BODY int64_t block_join(G& g, BlockScratch& scratch, T of_warp, const Join& join) {
  if (g.thread() % kWarp == 0) g.store(&scratch.value[g.thread() / kWarp], static_cast<int64_t>(of_warp));
  g.barrier();
  int64_t all = g.load(&scratch.value[0]);
  FAIRWAY_UNROLL for (int w = 1; w < kRowsPerBlock; ++w) all = join(all, g.load(&scratch.value[w]));
  g.barrier();  // the scratch may be used again
  return all;
}

/// kernels::cross_entropy: one block per row.
struct CrossEntropy {
  static constexpr int kThreads = kRowThreads;
  using Shared = BlockScratch;
  float* logits;
  int64_t rows, vocab;
  float cap;
  const uint16_t* targets;
  float* nll;
  bool gradient;
  uint32_t* failure;

  FAIRWAY_HD_MEMBER int64_t blocks() const { return rows; }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    BlockScratch& scratch = g.template shared<BlockScratch>();
    float* z = logits + g.block() * vocab;
    const auto larger = [](int64_t a, int64_t b) { return a > b ? a : b; };
    int32_t top = INT32_MIN;
    uint32_t magnitude = 0;
    for (int64_t i = g.thread(); i < vocab; i += kThreads) {
      const float u = g.load(z + i), v = ops::softcap(u, cap);
      const uint32_t m = num::magnitude_bits(u);
      magnitude = m > magnitude ? m : magnitude;
      const int32_t o = ops::ordered_bits(v);
      top = o > top ? o : top;
      g.store(z + i, v);
    }
    magnitude = static_cast<uint32_t>(block_join(g, scratch, warp_max(g, magnitude), larger));
    const float max = ops::from_ordered_bits(static_cast<int32_t>(block_join(g, scratch, warp_max(g, top), larger)));
    if (magnitude >= num::kInfinityBits) {
      if (g.thread() == 0) g.atomic_or(failure, kNotFinite);
      return;
    }
    int64_t sum = 0;
    for (int64_t i = g.thread(); i < vocab; i += kThreads) sum += num::probability_units(ops::logit_weight(g.load(z + i), max));
    sum = block_join(g, scratch, warp_sum(g, sum), [](int64_t a, int64_t b) { return a + b; });
    const int64_t target = g.load(targets + g.block());
    if (g.thread() == 0) {
      const float loss = ops::nll_of(sum, max, g.load(z + target));
      g.store(nll + g.block(), loss);
      if (!(num::absolute(loss) < num::kLossLimit)) g.atomic_or(failure, kTooLarge);
    }
    if (!gradient) return;
    g.barrier();  // the target's logit has been read
    const float inverse = ops::inverse_sum(sum);
    for (int64_t i = g.thread(); i < vocab; i += kThreads) {
      const float v = g.load(z + i);
      g.store(z + i, ops::capped_gradient(ops::logit_gradient(ops::logit_weight(v, max), inverse, i == target), ops::softcap_derivative(v, cap)));
    }
  }
};

/// Adds an nll to the loss in its units; one beyond the limit was reported by CrossEntropy. An Element of Elements.
struct AddLoss {
  const float* nll;
  int64_t* sum;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    const float loss = g.load(nll + i);
    if (num::absolute(loss) < num::kLossLimit) g.atomic_add(sum, num::loss_units(loss));
  }
};

/// One term of a gradient into its accumulator, unless it is beyond the limit (a NaN is).
template <class G>
FAIRWAY_BODY bool term_within(G& g, float term, float limit, uint32_t* failure) {
  if (num::magnitude_bits(term) <= num::bits_of(limit)) return true;
  g.atomic_or(failure, kTooLarge);
  return false;
}

/// kernels::accumulate. An Element of Elements.
struct Accumulate {
  const float* gradient;
  float limit;
  int64_t* acc;
  uint32_t* failure;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    const float term = g.load(gradient + i);
    if (term_within(g, term, limit, failure)) g.store(acc + i, g.load(acc + i) + num::gradient_units_large(term));
  }
};

/// kernels::accumulate_gathered: tokens that share an id meet in an atomic integer addition. An Element.
struct AccumulateGathered {
  const float* gradient;
  const uint16_t* ids;
  int64_t n;
  float limit;
  int64_t* acc;
  uint32_t* failure;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    const float term = g.load(gradient + i);
    if (term_within(g, term, limit, failure)) {
      g.atomic_add(acc + static_cast<int64_t>(g.load(ids + i / n)) * n + i % n, num::gradient_units_large(term));
    }
  }
};

/// kernels::accumulate_products, or with b null accumulate_rows. A thread takes one channel of kRows rows.
struct AccumulateRows {
  static constexpr int kThreads = 256;
  static constexpr int64_t kRows = 64;
  using Shared = NoShared;
  const float *a, *b;
  int64_t rows, n;
  float limit;
  int64_t* acc;
  uint32_t* failure;

  FAIRWAY_HD_MEMBER int64_t stripes() const { return (n + kThreads - 1) / kThreads; }
  FAIRWAY_HD_MEMBER int64_t blocks() const { return stripes() * ((rows + kRows - 1) / kRows); }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    const int64_t c = g.block() % stripes() * kThreads + g.thread();
    if (c >= n) return;
    const int64_t first = g.block() / stripes() * kRows, last = first + kRows < rows ? first + kRows : rows;
    int64_t sum = 0;
    for (int64_t r = first; r < last; ++r) {
      const float x = g.load(a + r * n + c);
      const float term = b == nullptr ? x : ops::product_term(x, g.load(b + r * n + c));
      if (!term_within(g, term, limit, failure)) return;
      sum += num::gradient_units_large(term);
    }
    g.atomic_add(acc + c, sum);
  }
};

}  // namespace fairway::cuda

/// Causal attention by its definition, one element at a time (NUMERICS.md, N5a): the quantiser and the products of
/// definitions.h, int64 sums in the order of the indices, no tiles. Only exp2_unit is shared with kernels/, being part
/// of the definition. One sequence, one key/value head.
#pragma once

#include <algorithm>

#include "definitions.h"
#include "kernels/attention.h"
#include "kernels/num/exp.h"
#include "support.h"

namespace fairway::kernels {

class AttentionDefinition {
 public:
  test::Floats out, dq, dk, dv;
  std::vector<int32_t> row_max;
  std::vector<int64_t> row_units;

  AttentionDefinition(const AttentionShape& s, const test::Floats& q, const test::Floats& k, const test::Floats& v,
                      const test::Floats& dout)
      : length_(s.length),
        depth_(s.head_dim),
        heads_(s.heads),
        products_(s.products),
        bits_(s.products == Products::kS21 ? 21 : 14),
        q_(groups(q)),
        k_(groups(k)),
        v_(groups(v)),
        dout_(groups(dout)) {
    const size_t rows = static_cast<size_t>(length_ * heads_);
    out.resize(rows * static_cast<size_t>(depth_));
    dq = out;
    row_max.resize(rows);
    row_units.resize(rows);
    ds_.assign(rows, {});
    probabilities_.assign(rows, {});
    for (int64_t i = 0; i < length_; ++i) {
      for (int64_t h = 0; h < heads_; ++h) row(i, h);
    }
    columns();
  }

 private:
  using Group = test::Group;

  std::vector<Group> groups(const test::Floats& x) const {
    std::vector<Group> g;
    for (size_t at = 0; at < x.size(); at += static_cast<size_t>(depth_)) g.emplace_back(&x[at], depth_, 1, bits_);
    return g;
  }
  float product(const Group& a, const Group& b) const {
    return test::scaled_integer(test::kept_products(a.q.data(), b.q.data(), depth_, products_),
                                a.exponent + b.exponent - 2 * bits_);
  }
  /// rint(fl?(S) * 2^n) of a block sum.
  static int64_t to_grid(int64_t s, int n) { return test::rounded(static_cast<double>(s), n); }

  /// Block sums of terms[j] * rows[j][d] over j in [first, last), blocks of 64 counted from token 0, on the grid
  /// 2^grid.
  std::vector<int64_t> block_sums(const std::vector<float>& terms, int64_t first, int64_t last,
                                  const std::vector<Group>& rows, int64_t rows_stride, int64_t rows_offset,
                                  int grid) const {
    std::vector<int64_t> total(static_cast<size_t>(depth_), 0);
    for (int64_t block = first / 64 * 64; block < last; block += 64) {
      const int64_t begin = std::max(block, first), end = std::min(block + 64, last);
      const Group u(&terms[static_cast<size_t>(begin)], end - begin, 1, bits_);
      for (int64_t d = 0; d < depth_; ++d) {
        std::vector<int64_t> column;
        for (int64_t j = begin; j < end; ++j) {
          column.push_back(rows[static_cast<size_t>(j * rows_stride + rows_offset)].q[static_cast<size_t>(d)]);
        }
        const int64_t s = test::kept_products(u.q.data(), column.data(), end - begin, products_);
        total[static_cast<size_t>(d)] += to_grid(s, u.exponent - 2 * bits_ - grid);
      }
    }
    return total;
  }

  int max_exponent(const std::vector<Group>& g) const {
    int max = -100;
    for (const Group& x : g) max = std::max(max, x.exponent);
    return max;
  }

  void row(int64_t i, int64_t h) {
    const size_t at = static_cast<size_t>(i * heads_ + h);
    const float factor = static_cast<float>(1.4426950408889634 / std::sqrt(static_cast<double>(depth_)));
    const float root = static_cast<float>(1.0 / std::sqrt(static_cast<double>(depth_)));
    std::vector<float> t(static_cast<size_t>(i + 1)), p(t.size());
    int max = -1000000000, max_v = -100;
    for (int64_t j = 0; j <= i; ++j) {
      t[static_cast<size_t>(j)] = product(q_[at], k_[static_cast<size_t>(j)]) * factor;
      max = std::max(max, static_cast<int>(std::floor(t[static_cast<size_t>(j)])));
      max_v = std::max(max_v, v_[static_cast<size_t>(j)].exponent);
    }
    int64_t units = 0;
    for (int64_t j = 0; j <= i; ++j) {
      const float score = t[static_cast<size_t>(j)];
      const int n = static_cast<int>(std::floor(score));
      const float f = num::exp2_unit(score - static_cast<float>(n));
      const double value = std::ldexp(static_cast<double>(f), n - max);
      p[static_cast<size_t>(j)] = max - n > 126 ? 0.0f : static_cast<float>(value);
      units += static_cast<int64_t>(std::nearbyint(std::ldexp(value, 30)));
    }
    row_max[at] = max;
    row_units[at] = units;
    const float sum = test::scaled_integer(units, -30);

    std::vector<float> terms(p.size());
    for (size_t j = 0; j < p.size(); ++j) terms[j] = p[j] * std::ldexp(1.0f, v_[j].exponent);
    const int grid = max_v - 40;
    const std::vector<int64_t> a = block_sums(terms, 0, i + 1, v_, 1, 0, grid);
    for (int64_t d = 0; d < depth_; ++d) {
      out[at * static_cast<size_t>(depth_) + static_cast<size_t>(d)] =
          test::scaled_integer(a[static_cast<size_t>(d)], grid) / sum;
    }

    const float inverse = 1.0f / sum;
    const int delta_grid = dout_[at].exponent + max_v - 40;
    std::vector<float>& probability = probabilities_[at];
    std::vector<float>& ds = ds_[at];
    std::vector<float> dp(p.size());
    int64_t delta_units = 0;
    for (size_t j = 0; j < p.size(); ++j) {
      probability.push_back(p[j] * inverse);
      dp[j] = product(dout_[at], v_[j]);
      const float term = probability[j] * dp[j];
      delta_units += test::rounded(term, -delta_grid);
    }
    const float delta = test::scaled_integer(delta_units, delta_grid);
    for (size_t j = 0; j < p.size(); ++j) ds.push_back(probability[j] * (dp[j] - delta));

    for (size_t j = 0; j < p.size(); ++j) terms[j] = ds[j] * std::ldexp(1.0f, k_[j].exponent);
    const int grid_q = max_exponent(dout_) + max_exponent(v_) + max_exponent(k_) - 36;
    const std::vector<int64_t> g = block_sums(terms, 0, i + 1, k_, 1, 0, grid_q);
    for (int64_t d = 0; d < depth_; ++d) {
      dq[at * static_cast<size_t>(depth_) + static_cast<size_t>(d)] =
          test::scaled_integer(g[static_cast<size_t>(d)], grid_q) * root;
    }
  }

  /// dK and dV: for every key, sums over the queries that see it, of all heads.
  void columns() {
    const float root = static_cast<float>(1.0 / std::sqrt(static_cast<double>(depth_)));
    const int grid_v = max_exponent(dout_) - 40;
    const int grid_k = max_exponent(dout_) + max_exponent(v_) + max_exponent(q_) - 36;
    dk.resize(static_cast<size_t>(length_ * depth_));
    dv = dk;
    for (int64_t j = 0; j < length_; ++j) {
      std::vector<int64_t> sum_k(static_cast<size_t>(depth_), 0), sum_v = sum_k;
      for (int64_t h = 0; h < heads_; ++h) {
        std::vector<float> p(static_cast<size_t>(length_)), ds(p.size());
        for (int64_t i = j; i < length_; ++i) {
          const size_t at = static_cast<size_t>(i * heads_ + h);
          p[static_cast<size_t>(i)] = probabilities_[at][static_cast<size_t>(j)] * std::ldexp(1.0f, dout_[at].exponent);
          ds[static_cast<size_t>(i)] = ds_[at][static_cast<size_t>(j)] * std::ldexp(1.0f, q_[at].exponent);
        }
        const std::vector<int64_t> a = block_sums(p, j, length_, dout_, heads_, h, grid_v);
        const std::vector<int64_t> b = block_sums(ds, j, length_, q_, heads_, h, grid_k);
        for (size_t d = 0; d < sum_v.size(); ++d) {
          sum_v[d] += a[d];
          sum_k[d] += b[d];
        }
      }
      for (int64_t d = 0; d < depth_; ++d) {
        const size_t at = static_cast<size_t>(j * depth_ + d);
        dv[at] = test::scaled_integer(sum_v[static_cast<size_t>(d)], grid_v);
        dk[at] = test::scaled_integer(sum_k[static_cast<size_t>(d)], grid_k) * root;
      }
    }
  }

  int64_t length_, depth_, heads_;
  Products products_;
  int bits_;
  std::vector<Group> q_, k_, v_, dout_;
  std::vector<std::vector<float>> probabilities_, ds_;  ///< per query row, visible keys
};

}  // namespace fairway::kernels

#include "kernels/mud.h"

#include <atomic>

#include "kernels/cpu/wide_form.h"
#include "kernels/ops/mud.h"
#include "kernels/rows.h"

namespace fairway::kernels {
namespace {

bool normalise_rows(float* q, int64_t m, int64_t n) {
  std::atomic<bool> ok{true};
  parallel_for(m, [&](int64_t r) {
    float* row = q + r * n;
    SumOfSquares squares;
    if (!squares.add({row, static_cast<size_t>(n)})) ok = false;
    const float divisor = ops::newton_schulz_divisor(squares.total());
    for (int64_t c = 0; c < n; ++c) row[c] = ops::newton_schulz_input(row[c], divisor);
  });
  return ok;
}

class Solver {
 public:
  Solver(Products products, int64_t n, int64_t stride, MudScratch& s)
      : products_(products), bits_(bits_of_products(products)), n_(n), stride_(stride), s_(s) {}

  /// x (m, n) becomes T^-1 x, T the lower triangle at t. [A 0; C B]^-1 (x1, x2) is y1 = A^-1 x1, y2 = B^-1 (x2 - C y1);
  /// A has the largest power of two below m of the rows.
  bool solve(const float* t, float* x, int64_t m) {
    if (m == 1) {
      for (int64_t c = 0; c < n_; ++c) x[c] = ops::mud_solved(x[c], t[0]);
      return true;
    }
    const int64_t first = ops::mud_first_rows(m), rest = m - first;
    if (!solve(t, x, first)) return false;
    if (!quantise_rows(t + first * stride_, rest, first, stride_, bits_, s_.rows) ||
        !quantise_columns(x, first, n_, n_, bits_, s_.columns)) {
      return false;
    }
    s_.product.resize(static_cast<size_t>(rest * n_));
    exact_matmul(s_.rows, s_.columns, products_, s_.product.data(), n_);
    float* below = x + first * n_;
    for (int64_t i = 0; i < rest * n_; ++i) below[i] = ops::mud_below(below[i], s_.product.data()[i]);
    return solve(t + first * stride_ + first, below, rest);
  }

 private:
  Products products_;
  int bits_;
  int64_t n_, stride_;
  MudScratch& s_;
};

}  // namespace

bool mud(float* u, int64_t count, int64_t rows, int64_t columns, int64_t passes, Products products,
         MudScratch& scratch) {
  const auto decorrelate = [&](float* q, int64_t m, int64_t n) {
    for (int64_t pass = 0; pass < passes; ++pass) {
      if (!normalise_rows(q, m, n)) return false;
      if (!quantise_rows(q, m, n, n, bits_of_products(products), scratch.rows)) return false;
      scratch.gram.resize(static_cast<size_t>(m * m));
      exact_matmul_self(scratch.rows, products, scratch.gram.data(), m);
      if (!Solver(products, n, m, scratch).solve(scratch.gram.data(), q, m) || !normalise_rows(q, m, n)) return false;
    }
    return true;
  };
  for (int64_t i = 0; i < count; ++i) {
    if (!in_wide_form(u + i * rows * columns, rows, columns, scratch.turned, decorrelate)) return false;
  }
  return true;
}

}  // namespace fairway::kernels

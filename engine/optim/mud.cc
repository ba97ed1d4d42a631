#include "engine/optim/mud.h"

#include <atomic>
#include <bit>

#include "kernels/cpu/wide_form.h"
#include "kernels/num/float_bits.h"
#include "kernels/rows.h"

namespace fairway::optim {
namespace {

constexpr float kNormEps = 1e-7f, kDiagonal = 1e-6f;

bool normalise_rows(float* q, int64_t m, int64_t n) {
  std::atomic<bool> ok{true};
  kernels::parallel_for(m, [&](int64_t r) {
    float* row = q + r * n;
    kernels::SumOfSquares squares;
    if (!squares.add({row, static_cast<size_t>(n)})) ok = false;
    const float divisor = static_cast<float>(num::sqrt(squares.total())) + kNormEps;
    for (int64_t c = 0; c < n; ++c) row[c] = row[c] / divisor;
  });
  return ok;
}

class Solver {
 public:
  Solver(kernels::Products products, int64_t n, int64_t stride, MudScratch& s)
      : products_(products), bits_(kernels::bits_of_products(products)), n_(n), stride_(stride), s_(s) {}

  /// x (m, n) becomes T^-1 x, T the lower triangle at t. [A 0; C B]^-1 (x1, x2) is y1 = A^-1 x1, y2 = B^-1 (x2 - C y1);
  /// A has the largest power of two below m of the rows.
  bool solve(const float* t, float* x, int64_t m) {
    if (m == 1) {
      const float divisor = t[0] + kDiagonal;
      for (int64_t c = 0; c < n_; ++c) x[c] = x[c] / divisor;
      return true;
    }
    const int64_t first = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(m - 1))), rest = m - first;
    if (!solve(t, x, first)) return false;
    if (!kernels::quantise_rows(t + first * stride_, rest, first, stride_, bits_, s_.rows) ||
        !kernels::quantise_columns(x, first, n_, n_, bits_, s_.columns)) {
      return false;
    }
    s_.product.resize(static_cast<size_t>(rest * n_));
    kernels::exact_matmul(s_.rows, s_.columns, products_, s_.product.data(), n_);
    float* below = x + first * n_;
    for (int64_t i = 0; i < rest * n_; ++i) below[i] = below[i] - s_.product.data()[i];
    return solve(t + first * stride_ + first, below, rest);
  }

 private:
  kernels::Products products_;
  int bits_;
  int64_t n_, stride_;
  MudScratch& s_;
};

}  // namespace

bool mud(float* u, int64_t rows, int64_t columns, int64_t passes, kernels::Products products, MudScratch& scratch) {
  return kernels::in_wide_form(u, rows, columns, scratch.turned, [&](float* q, int64_t m, int64_t n) {
    for (int64_t pass = 0; pass < passes; ++pass) {
      if (!normalise_rows(q, m, n)) return false;
      if (!kernels::quantise_rows(q, m, n, n, kernels::bits_of_products(products), scratch.rows)) return false;
      scratch.gram.resize(static_cast<size_t>(m * m));
      kernels::exact_matmul_self(scratch.rows, products, scratch.gram.data(), m);
      if (!Solver(products, n, m, scratch).solve(scratch.gram.data(), q, m) || !normalise_rows(q, m, n)) return false;
    }
    return true;
  });
}

}  // namespace fairway::optim

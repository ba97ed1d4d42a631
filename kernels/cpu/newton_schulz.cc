#include "kernels/newton_schulz.h"

#include "kernels/cpu/wide_form.h"
#include "kernels/ops/muon.h"
#include "kernels/rows.h"

namespace fairway::kernels {
namespace {

/// One matrix with m <= n, in place.
bool iterate(float* x, int64_t m, int64_t n, int64_t steps, Products products, NewtonSchulzScratch& s) {
  const int bits = bits_of_products(products);
  SumOfSquares squares;
  if (!squares.add({x, static_cast<size_t>(m * n)})) return false;
  const float divisor = ops::newton_schulz_divisor(squares.total());
  parallel_elements(m * n, [&](int64_t i) { x[i] = ops::newton_schulz_input(x[i], divisor); });
  s.gram.resize(static_cast<size_t>(m * m));
  s.gram2.resize(static_cast<size_t>(m * m));
  s.product.resize(static_cast<size_t>(m * n));
  for (int64_t step = 0; step < steps; ++step) {
    float *a = s.gram.data(), *a2 = s.gram2.data(), *px = s.product.data();
    if (!quantise_rows(x, m, n, n, bits, s.rows)) return false;
    exact_matmul_self(s.rows, products, a, m);
    // A is symmetric to the last bit, so its rows are its columns and A A is a product of rows with rows.
    if (!quantise_rows(a, m, m, m, bits, s.rows)) return false;
    exact_matmul_self(s.rows, products, a2, m);
    parallel_elements(m * m, [&](int64_t i) { a2[i] = ops::newton_schulz_polynomial(a[i], a2[i]); });
    if (!quantise_rows(a2, m, m, m, bits, s.rows)) return false;
    if (!quantise_columns(x, m, n, n, bits, s.columns)) return false;
    exact_matmul(s.rows, s.columns, products, px, n);
    parallel_elements(m * n, [&](int64_t i) { x[i] = ops::newton_schulz_next(x[i], px[i]); });
  }
  return true;
}

}  // namespace

bool newton_schulz(float* u, int64_t count, int64_t rows, int64_t columns, int64_t steps, Products products,
                   NewtonSchulzScratch& scratch) {
  for (int64_t i = 0; i < count; ++i) {
    const bool ok = in_wide_form(u + i * rows * columns, rows, columns, scratch.x, [&](float* x, int64_t m, int64_t n) {
      return iterate(x, m, n, steps, products, scratch);
    });
    if (!ok) return false;
  }
  return true;
}

}  // namespace fairway::kernels

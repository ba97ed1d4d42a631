#include "kernels/cuda/newton_schulz.h"

#include "kernels/cuda/bodies/elementwise.h"
#include "kernels/cuda/bodies/rows.h"
#include "kernels/cuda/bodies/turn.h"
#include "kernels/cuda/launch.cuh"

namespace fairway::cuda {
namespace {

using kernels::Products;

template <class Element>
void elements(Device& device, int64_t count, const Element& element) {
  launch(device, Elements<Element>{count, element});
}

/// x (count, m, n) with m <= n, in place.
void iterate(Device& device, float* x, int64_t count, int64_t m, int64_t n, int64_t steps, Products products, NewtonSchulzScratch& s) {
  const int bits = kernels::bits_of_products(products);
  SquareRows squares{x, count, m * n, nullptr, device.failure()};
  s.squares.resize(static_cast<size_t>(count * squares.rows_per_tensor()));
  s.totals.resize(static_cast<size_t>(count));
  squares.values = s.squares.data();
  launch(device, squares);
  launch(device, SquareTotals{s.squares.data(), count, squares.rows_per_tensor(), s.totals.data()});
  elements(device, count * m * n, NewtonSchulzInput{x, s.totals.data(), m * n});
  for (DeviceBuffer<float>* b : {&s.gram, &s.gram2}) b->resize(static_cast<size_t>(count * m * m));
  s.product.resize(static_cast<size_t>(count * m * n));
  s.turned.resize(static_cast<size_t>(count * m * n));
  float *a = s.gram.data(), *a2 = s.gram2.data();
  for (int64_t step = 0; step < steps; ++step) {
    quantise_rows(device, {x, count * m, n, n}, bits, s.rows);
    exact_matmul_batched(device, s.rows, s.rows, count, products, {a, count * m, m, m});
    // A is symmetric to the last bit, so its rows are its columns and A A is a product of rows with rows.
    quantise_rows(device, {a, count * m, m, m}, bits, s.rows);
    exact_matmul_batched(device, s.rows, s.rows, count, products, {a2, count * m, m, m});
    elements(device, count * m * m, NewtonSchulzPolynomial{a, a2});
    quantise_rows(device, {a2, count * m, m, m}, bits, s.rows);
    // Columns of each matrix: the rows of its transpose.
    launch(device, TurnMatrices{x, count, m, n, s.turned.data()});
    quantise_rows(device, {s.turned.data(), count * n, m, m}, bits, s.columns);
    exact_matmul_batched(device, s.rows, s.columns, count, products, {s.product.data(), count * m, n, n});
    elements(device, count * m * n, NewtonSchulzNext{x, s.product.data()});
  }
}

}  // namespace

void newton_schulz(Device& device, float* u, int64_t count, int64_t rows, int64_t columns, int64_t steps, Products products, NewtonSchulzScratch& scratch) {
  if (rows <= columns) return iterate(device, u, count, rows, columns, steps, products, scratch);
  scratch.input.resize(static_cast<size_t>(count * rows * columns));
  float* x = scratch.input.data();
  launch(device, TurnMatrices{u, count, rows, columns, x});
  iterate(device, x, count, columns, rows, steps, products, scratch);
  launch(device, TurnMatrices{x, count, columns, rows, u});
}

}  // namespace fairway::cuda

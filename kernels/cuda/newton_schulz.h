/// Newton-Schulz orthogonalisation on a queue (device.h), batched over matrices of one shape (NUMERICS.md,
/// "Newton-Schulz").
#pragma once

#include "kernels/cuda/bodies/elementwise.h"
#include "kernels/cuda/bodies/rows.h"
#include "kernels/cuda/bodies/turn.h"
#include "kernels/cuda/matmul.h"

namespace fairway::cuda {

/// Working memory of divide_by_norms, kept between calls.
struct NormScratch {
  explicit NormScratch(kernels::Memory& memory)
      : squares(memory, "row sums of squares"), totals(memory, "sums of squares") {}
  kernels::Buffer<double> squares, totals;
};

/// Each of the `tensors` stacked tensors of `count` values at x divided by its norm + 1e-7.
template <class Queue>
void divide_by_norms(Queue& queue, float* x, int64_t tensors, int64_t count, NormScratch& s) {
  SquareRows squares{x, count, nullptr, queue.failure()};
  s.squares.resize(static_cast<size_t>(tensors * squares.rows_per_tensor()));
  s.totals.resize(static_cast<size_t>(tensors));
  squares.values = s.squares.data();
  queue.launch(WarpRows<SquareRows>{tensors * squares.rows_per_tensor(), squares});
  queue.launch(WarpRows<SquareTotals>{tensors, {s.squares.data(), squares.rows_per_tensor(), s.totals.data()}});
  queue.launch(Elements<NewtonSchulzInput>{tensors * count, {x, s.totals.data(), count}});
}

/// Working memory, kept between calls.
struct NewtonSchulzScratch {
  explicit NewtonSchulzScratch(kernels::Memory& memory)
      : input(memory, "Muon's input"),
        turned(memory, "Muon's turned matrices"),
        gram(memory, "Muon's A"),
        gram2(memory, "Muon's A A"),
        product(memory, "Muon's P X"),
        norms(memory) {}
  kernels::Buffer<float> input, turned, gram, gram2, product;
  NormScratch norms;
  kernels::Quantised rows, columns;
};

/// x (count, m, n) with m <= n, in place.
template <class Queue>
void newton_schulz_iterate(Queue& queue, float* x, int64_t count, int64_t m, int64_t n, int64_t steps,
                           Products products, NewtonSchulzScratch& s) {
  const auto elements = [&]<class Element>(int64_t of, const Element& element) {
    queue.launch(Elements<Element>{of, element});
  };
  const int bits = kernels::bits_of_products(products);
  divide_by_norms(queue, x, count, m * n, s.norms);
  for (kernels::Buffer<float>* b : {&s.gram, &s.gram2}) b->resize(static_cast<size_t>(count * m * m));
  s.product.resize(static_cast<size_t>(count * m * n));
  s.turned.resize(static_cast<size_t>(count * m * n));
  float *a = s.gram.data(), *a2 = s.gram2.data();
  for (int64_t step = 0; step < steps; ++step) {
    quantise_rows(queue, {x, count * m, n, n}, bits, s.rows);
    exact_matmul_batched(queue, s.rows, s.rows, count, products, {a, count * m, m, m});
    // A is symmetric to the last bit, so its rows are its columns and A A is a product of rows with rows.
    quantise_rows(queue, {a, count * m, m, m}, bits, s.rows);
    exact_matmul_batched(queue, s.rows, s.rows, count, products, {a2, count * m, m, m});
    elements(count * m * m, NewtonSchulzPolynomial{a, a2});
    quantise_rows(queue, {a2, count * m, m, m}, bits, s.rows);
    // Columns of each matrix: the rows of its transpose.
    queue.launch(TurnMatrices{x, count, m, n, s.turned.data()});
    quantise_rows(queue, {s.turned.data(), count * n, m, m}, bits, s.columns);
    exact_matmul_batched(queue, s.rows, s.columns, count, products, {s.product.data(), count * m, n, n});
    elements(count * m * n, NewtonSchulzNext{x, s.product.data()});
  }
}

/// u (count matrices of rows x columns, stacked) is replaced by its orthogonalisation, as by kernels::newton_schulz.
template <class Queue>
void newton_schulz(Queue& queue, float* u, int64_t count, int64_t rows, int64_t columns, int64_t steps,
                   Products products, NewtonSchulzScratch& scratch) {
  if (rows <= columns) return newton_schulz_iterate(queue, u, count, rows, columns, steps, products, scratch);
  scratch.input.resize(static_cast<size_t>(count * rows * columns));
  float* x = scratch.input.data();
  queue.launch(TurnMatrices{u, count, rows, columns, x});
  newton_schulz_iterate(queue, x, count, columns, rows, steps, products, scratch);
  queue.launch(TurnMatrices{x, count, columns, rows, u});
}

}  // namespace fairway::cuda

/// MUD on a queue (device.h), batched over matrices of one shape (NUMERICS.md, "MUD").
#pragma once

#include "kernels/cuda/bodies/mud.h"
#include "kernels/cuda/newton_schulz.h"

namespace fairway::cuda {

/// Working memory, kept between calls.
struct MudScratch {
  explicit MudScratch(kernels::Memory& memory)
      : turned(memory, "MUD's turned matrices"),
        gram(memory, "MUD's triangles"),
        block(memory, "MUD's blocks"),
        norms(memory) {}
  kernels::Buffer<float> turned, gram, block;
  NormScratch norms;
  kernels::Quantised rows, columns;
};

/// xt becomes the transpose of T^-1 x, as by the solver of kernels/cpu/mud.cc: T the lower triangles at
/// scratch.gram (count, m, m), xt (count, n, m). A product of rows with rows is the transpose of the one with its
/// factors exchanged, to the last bit.
template <class Queue>
class MudSolver {
 public:
  MudSolver(Queue& queue, float* xt, int64_t count, int64_t m, int64_t n, Products products, MudScratch& s)
      : queue_(queue), xt_(xt), count_(count), m_(m), n_(n), products_(products), s_(s) {
    s_.block.resize(static_cast<size_t>(count * (m * m / 4)));  // the largest product of two numbers of rows
  }

  /// Rows first .. first + rows - 1 of x, when those above have been taken out.
  void solve(int64_t first, int64_t rows) {
    if (rows == 1) return elements(count_ * n_, MudSolved{xt_, s_.gram.data(), n_, m_, first});
    const int64_t above = ops::mud_first_rows(rows), below = rows - above, next = first + above;
    const int bits = kernels::bits_of_products(products_);
    solve(first, above);
    elements(count_ * below * above, MudBlock{s_.gram.data(), m_, next, below, first, above, s_.block.data()});
    quantise_rows(queue_, {s_.block.data(), count_ * below, above, above}, bits, s_.rows);
    quantise_rows(queue_, {xt_ + first, count_ * n_, above, m_}, bits, s_.columns);
    multiply(queue_, s_.columns, s_.rows, count_, products_, SubtractProduct{{xt_ + next, count_ * n_, below, m_}});
    solve(next, below);
  }

 private:
  template <class Element>
  void elements(int64_t count, const Element& element) {
    queue_.launch(Elements<Element>{count, element});
  }

  Queue& queue_;
  float* xt_;
  int64_t count_, m_, n_;
  Products products_;
  MudScratch& s_;
};

/// u (count matrices of rows x columns, stacked) is replaced as by kernels::mud.
template <class Queue>
void mud(Queue& queue, float* u, int64_t count, int64_t rows, int64_t columns, int64_t passes, Products products,
         MudScratch& s) {
  const bool tall = rows > columns;
  const int64_t m = tall ? columns : rows, n = tall ? rows : columns;
  s.turned.resize(static_cast<size_t>(count * m * n));
  s.gram.resize(static_cast<size_t>(count * m * m));
  float *x = tall ? s.turned.data() : u, *xt = tall ? u : s.turned.data();
  if (tall) queue.launch(TurnMatrices{xt, count, n, m, x});
  for (int64_t pass = 0; pass < passes; ++pass) {
    divide_by_norms(queue, x, count * m, n, s.norms);
    quantise_rows(queue, {x, count * m, n, n}, kernels::bits_of_products(products), s.rows);
    exact_matmul_batched(queue, s.rows, s.rows, count, products, {s.gram.data(), count * m, m, m});
    queue.launch(TurnMatrices{x, count, m, n, xt});
    MudSolver<Queue>(queue, xt, count, m, n, products, s).solve(0, m);
    queue.launch(TurnMatrices{xt, count, n, m, x});
    divide_by_norms(queue, x, count * m, n, s.norms);
  }
  if (tall) queue.launch(TurnMatrices{x, count, m, n, xt});
}

}  // namespace fairway::cuda

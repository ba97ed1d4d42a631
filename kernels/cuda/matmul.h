/// Quantising and multiplying matrices on a queue (device.h): kernels/matmul.h, bit for bit.
///
/// What kernels/matmul.h returns as false is reported into the queue's failure word instead. Quantised matrices are
/// placed in the queue's memory.
#pragma once

#include "kernels/check.h"
#include "kernels/cuda/bodies/matmul.h"
#include "kernels/cuda/bodies/quantise.h"
#include "kernels/quantised.h"

namespace fairway::cuda {

/// A quantised matrix as bodies see it; they write to it only where it is an output.
inline Slices slices_of(const kernels::Quantised& q) {
  auto& m = const_cast<kernels::Quantised&>(q);
  Slices v;
  for (int s = 0; s < kernels::slices_of_bits(q.bits()); ++s) v.plane[s] = m.plane(s);
  v.exponent = m.exponents();
  v.rows = q.rows();
  v.columns = q.columns();
  v.stride = q.stride();
  return v;
}

/// Calls f with the bits, or the products, as a template argument.
template <class F>
void with_bits(int bits, const F& f) {
  if (bits == 7) return f.template operator()<7>();
  if (bits == 14) return f.template operator()<14>();
  FAIRWAY_CHECK(bits == 21);
  f.template operator()<21>();
}
template <class F>
void with_products(Products products, const F& f) {
  if (products == Products::kP3) return f.template operator()<Products::kP3>();
  if (products == Products::kP4) return f.template operator()<Products::kP4>();
  f.template operator()<Products::kS21>();
}

/// Row r of x becomes row r of `out`.
template <class Queue>
void quantise_rows(Queue& queue, Matrix<const float> x, int bits, kernels::Quantised& out) {
  out.place(&queue);
  out.resize(x.rows, x.columns, bits);
  with_bits(bits, [&]<int kBits>() { queue.launch(QuantiseRows<kBits>{x, slices_of(out), queue.failure()}); });
}

/// Column c of x becomes row c of `out`. `maxima` is working memory of the queue.
template <class Queue>
void quantise_columns(Queue& queue, Matrix<const float> x, int bits, kernels::Quantised& out,
                      kernels::Buffer<uint32_t>& maxima) {
  out.place(&queue);
  out.resize(x.columns, x.rows, bits);
  maxima.resize(static_cast<size_t>(x.columns));
  maxima.zero();
  queue.launch(ColumnMaxima{x, maxima.data()});
  with_bits(bits, [&]<int kBits>() {
    queue.launch(QuantiseColumns<kBits>{x, maxima.data(), slices_of(out), queue.failure()});
  });
}

/// `count` products of stacked operands, each into what `sink` does with it.
template <class Queue, class Sink>
void multiply(Queue& queue, const kernels::Quantised& a, const kernels::Quantised& b, int64_t count, Products products,
              const Sink& sink) {
  FAIRWAY_CHECK(a.columns() == b.columns() && a.bits() == kernels::bits_of_products(products) && b.bits() == a.bits());
  FAIRWAY_CHECK(a.columns() <= (products == Products::kS21 ? kernels::kMaxContraction / 2 : kernels::kMaxContraction));
  FAIRWAY_CHECK(count > 0 && a.rows() % count == 0 && b.rows() % count == 0);
  with_products(products, [&]<Products P>() {
    queue.launch(ExactMatmul<P, Sink>{slices_of(a), slices_of(b), count, a.rows() / count, b.rows() / count, sink});
  });
}

/// `count` products as kernels::exact_matmul_batched: a (count * M, K), b (count * N, K), c (count * M, N).
template <class Queue>
void exact_matmul_batched(Queue& queue, const kernels::Quantised& a, const kernels::Quantised& b, int64_t count,
                          Products products, Matrix<float> c) {
  FAIRWAY_CHECK(c.rows == a.rows() && c.columns * count == b.rows());
  multiply(queue, a, b, count, products, StoreProduct{c});
}

/// C = A B^T as kernels::exact_matmul: a (M, K), b (N, K), c (M, N).
template <class Queue>
void exact_matmul(Queue& queue, const kernels::Quantised& a, const kernels::Quantised& b, Products products,
                  Matrix<float> c) {
  exact_matmul_batched(queue, a, b, 1, products, c);
}

/// kernels::exact_matmul followed by kernels::accumulate, in one kernel: a chunk's gradient never lies in memory.
template <class Queue>
void exact_matmul_accumulate(Queue& queue, const kernels::Quantised& a, const kernels::Quantised& b, Products products,
                             float limit, Matrix<int64_t> accumulator) {
  FAIRWAY_CHECK(accumulator.rows == a.rows() && accumulator.columns == b.rows());
  multiply(queue, a, b, 1, products, AccumulateProduct{accumulator, limit, queue.failure()});
}

}  // namespace fairway::cuda

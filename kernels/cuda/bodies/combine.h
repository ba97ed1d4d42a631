/// Joins the slice products that a library made one by one: the second half of a product on cuBLASLt.
#pragma once

#include "kernels/cuda/bodies/slice_tile.h"
#include "kernels/num/exact_sum.h"

namespace fairway::cuda {

/// Which slice products a scheme keeps, in the order of `product` below.
template <Products P>
struct KeptProducts {
  static constexpr int kCount = P == Products::kP3 ? 3 : P == Products::kP4 ? 4 : 6;
  /// Calls f(index, i, j) for each kept pair of slices. The host calls it with what only a host can run.
#if defined(__CUDACC__)
#pragma nv_exec_check_disable
#endif
  template <class F>
  static FAIRWAY_HD_MEMBER void each(const F& f) {
    int index = 0;
    for (int i = 0; i < Scheme<P>::kSlices; ++i) {
      for (int j = 0; j < Scheme<P>::kSlices; ++j) {
        if (i + j < Scheme<P>::kLevels) f(index++, i, j);
      }
    }
  }
};

/// c[m][n] from int32 products of slices, product[index] (m, n) with row stride `ld`. Each is within int32; their sums are taken in int64.
template <Products P>
struct CombineProducts {
  static constexpr int kThreads = 256;
  using Shared = NoShared;
  const int32_t* product[KeptProducts<P>::kCount];
  int64_t ld;
  const int32_t *row_exponent, *column_exponent;
  Matrix<float> c;

  FAIRWAY_HD_MEMBER int64_t blocks() const { return (c.rows * c.columns + kThreads - 1) / kThreads; }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    const int64_t i = g.block() * kThreads + g.thread();
    if (i >= c.rows * c.columns) return;
    const int64_t row = i / c.columns, column = i % c.columns;
    int64_t level[Scheme<P>::kLevels] = {};
    KeptProducts<P>::each([&](int index, int x, int y) { level[x + y] += g.load(product[index] + row * ld + column); });
    int64_t t = 0;
    FAIRWAY_UNROLL for (int l = 0; l < Scheme<P>::kLevels; ++l) t = 128 * t + level[l];
    const int32_t exponent = g.load(row_exponent + row) + g.load(column_exponent + column);
    g.store(c.at(row, column), num::grid_value(t, exponent + Scheme<P>::kShift - 2 * Scheme<P>::kBits));
  }
};

}  // namespace fairway::cuda

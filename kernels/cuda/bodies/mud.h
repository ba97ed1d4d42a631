/// MUD's triangular solve between its products: kernels/mud.h. The rows that are solved are the columns of
/// xt (count * n, m), so that every step takes columns first .. of all matrices' rows alike.
#pragma once

#include "kernels/cuda/bodies/matmul.h"
#include "kernels/ops/mud.h"

namespace fairway::cuda {

/// Rows row .. row + rows - 1, columns column .. column + columns - 1 of each matrix of t (count, m, m), without gaps.
/// An Element of Elements, like the next.
struct MudBlock {
  const float* t;
  int64_t m, row, rows, column, columns;
  float* block;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    const int64_t c = i % columns, r = i / columns % rows, item = i / columns / rows;
    g.store(block + i, g.load(t + (item * m + row + r) * m + column + c));
  }
};

/// The solution of row `row`, when those above it have been taken out.
struct MudSolved {
  float* xt;
  const float* t;
  int64_t n, m, row;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t i) const {
    float* x = xt + i * m + row;
    g.store(x, ops::mud_solved(g.load(x), g.load(t + (i / n * m + row) * m + row)));
  }
};

/// Takes a product out of the rows below; a sink of ExactMatmul.
struct SubtractProduct {
  Matrix<float> below;

  template <class G>
  FAIRWAY_BODY void store(G& g, int64_t row, int64_t column, float value) const {
    float* x = below.at(row, column);
    g.store(x, ops::mud_below(g.load(x), value));
  }
};

}  // namespace fairway::cuda

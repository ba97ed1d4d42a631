/// Vectors of length one: kernels/unit_vectors.h. Both are Rows of WarpRows.
#pragma once

#include "kernels/cuda/bodies/rows.h"
#include "kernels/ops/exclusive_attention.h"

namespace fairway::cuda {

/// kernels::unit_rows. A lane writes the elements that it read itself, so y may be x.
struct UnitRows {
  const float* x;
  int64_t n;
  float *y, *norm;  ///< norm may be null
  uint32_t* failure;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t row, int lane) const {
    const float* in = x + row * n;
    float square = 0.0f;
    if (!warp_dot(g, in, in, n, failure, square)) return;
    const float length = ops::value_norm(square);
    if (norm != nullptr && lane == 0) g.store(norm + row, length);
    for (int64_t c = lane; c < n; c += kWarp) g.store(y + row * n + c, ops::unit_value(g.load(in + c), length));
  }
};

/// kernels::unit_rows_backward; dx may be dy.
struct UnitRowsBackward {
  const float *dy, *y, *norm;
  int64_t n;
  float* dx;
  uint32_t* failure;
  template <class G>
  FAIRWAY_BODY void operator()(G& g, int64_t row, int lane) const {
    const float *gradient = dy + row * n, *unit = y + row * n;
    float along = 0.0f;
    if (!warp_dot(g, gradient, unit, n, failure, along)) return;
    const float length = g.load(norm + row);
    for (int64_t c = lane; c < n; c += kWarp)
      g.store(dx + row * n + c, ops::value_gradient(g.load(gradient + c), along, g.load(unit + c), length));
  }
};

}  // namespace fairway::cuda

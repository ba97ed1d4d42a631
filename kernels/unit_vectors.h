/// Vectors of length one (NUMERICS.md, "Vectors of length one").
#pragma once

#include <cstdint>

namespace fairway::kernels {

/// norm[row] = max(sqrt(dot(x, x)), 1e-12), y = x / norm per row of n <= 16,384 values. y may be x; norm may be
/// null. False if not finite.
[[nodiscard]] bool unit_rows(const float* x, int64_t rows, int64_t n, float* y, float* norm);

/// dx = (dy - dot(dy, y) y) / norm; dy / norm where the norm was clamped. dx may be dy. False if not finite.
[[nodiscard]] bool unit_rows_backward(const float* dy, const float* y, const float* norm, int64_t rows, int64_t n,
                                      float* dx);

/// The same for the columns of x (rows <= 16,384, n), in place.
[[nodiscard]] bool unit_columns(float* x, int64_t rows, int64_t n);

}  // namespace fairway::kernels

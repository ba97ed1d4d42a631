/// Orthogonal initial values: host-only work in binary64 with a fixed order of sums (NUMERICS.md, "Host-only work", N10).
#pragma once

#include <cstdint>

namespace fairway::model {

/// values (rows, columns) becomes the orthonormal factor with positive diagonal R of the tall orientation of the Gaussian matrix whose
/// row-major elements are the normals 0, 1, ... of (seed, word): orthonormal columns if rows >= columns, else orthonormal rows. Each
/// value is rounded to binary32 once. Runs on the calling thread, 2 rows columns min(rows, columns) operations.
void draw_orthogonal(uint64_t seed, uint32_t word, int64_t rows, int64_t columns, float* values);

}  // namespace fairway::model

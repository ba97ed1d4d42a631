/// MUD, momentum decorrelation (arXiv 2603.17970): a triangular solve in place of Muon's Newton-Schulz iteration
/// (NUMERICS.md, "MUD").
#pragma once

#include <cstdint>

#include "kernels/buffer.h"
#include "kernels/matmul.h"

namespace fairway::kernels {

/// Working memory, kept between calls.
struct MudScratch {
  Buffer<float> turned, gram, product;
  Quantised rows, columns;
};

/// Each of the `count` matrices of u (rows, columns), turned so that rows <= columns, is replaced `passes` times by
///   Q = rows of Q / (norm + 1e-7);  T = lower triangle of Q Q^T, its diagonal + 1e-6;  Q = T^-1 Q;  Q = rows of Q /
///   (norm + 1e-7)
/// Rows that are orthonormal stay as they are, up to rounding; a zero row stays zero. The addition to the diagonal is
/// that of PR #831, whose runs diverged without it. Every product is N5 (`products`); T^-1 is applied by halves, so
/// that it consists of products too. False if a value is not finite.
[[nodiscard]] bool mud(float* u, int64_t count, int64_t rows, int64_t columns, int64_t passes, Products products,
                       MudScratch& scratch);

}  // namespace fairway::kernels

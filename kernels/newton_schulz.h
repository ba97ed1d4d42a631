/// Newton-Schulz orthogonalisation, the heart of Muon, in 21-bit exact products (NUMERICS.md, "Newton-Schulz").
#pragma once

#include <cstdint>

#include "kernels/buffer.h"
#include "kernels/matmul.h"

namespace fairway::kernels {

/// Working memory, kept between calls.
struct NewtonSchulzScratch {
  Buffer<float> x, gram, gram2, product;
  Quantised rows, columns;
};

/// u (count matrices of rows x columns, stacked) is replaced by its orthogonalisation. Each matrix is turned so that
/// rows <= columns, divided by fl(norm + 1e-7), then `steps` times
///   A = X X^T;  P = b A + c (A A);  X = a X + P X      a = 3.4445, b = -4.7750, c = 2.0315
/// with every product N5 (`products`) and every other operation one binary32 operation. A zero matrix stays zero.
/// False if a value is not finite.
[[nodiscard]] bool newton_schulz(float* u, int64_t count, int64_t rows, int64_t columns, int64_t steps,
                                 Products products, NewtonSchulzScratch& scratch);

}  // namespace fairway::kernels

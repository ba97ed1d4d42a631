/// A matrix with at most as many rows as columns, whichever way it is stored.
#pragma once

#include <cstdint>

#include "kernels/buffer.h"
#include "kernels/cpu/parallel.h"

namespace fairway::kernels {

/// out (columns, rows) = in (rows, columns) turned.
inline void transpose(const float* in, int64_t rows, int64_t columns, float* out) {
  parallel_ranges(columns, 64, [&](int64_t begin, int64_t end) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = begin; c < end; ++c) out[c * rows + r] = in[r * columns + c];
    }
  });
}

/// work(x, m, n) on u (rows, columns), or on its transpose if it has more rows than columns; u then holds what `work`
/// left, the way it was stored. What `work` returns.
template <class F>
bool in_wide_form(float* u, int64_t rows, int64_t columns, Buffer<float>& turned, const F& work) {
  if (rows <= columns) return work(u, rows, columns);
  turned.resize(static_cast<size_t>(rows * columns));
  transpose(u, rows, columns, turned.data());
  if (!work(turned.data(), columns, rows)) return false;
  transpose(turned.data(), columns, rows, u);
  return true;
}

}  // namespace fairway::kernels

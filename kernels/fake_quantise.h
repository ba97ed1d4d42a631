/// Fake quantisation of the rows of a matrix, as training sees weights that will be stored in few steps
/// (NUMERICS.md, 27.12).
#pragma once

#include <cstdint>

namespace fairway::kernels {

/// Per row: s = max(max |w| / limit, 1 / limit); out = bf16(rint(w / s) * s). `out` may be w. False if not finite.
[[nodiscard]] bool fake_quantise_rows(const float* w, int64_t rows, int64_t columns, float limit, float* out);

}  // namespace fairway::kernels

/// Fake quantisation of the rows of a matrix, as training sees weights that will be stored in few steps
/// (NUMERICS.md, 17.1 and 27.12).
#pragma once

#include <cstdint>

#include "kernels/ops/fake_quantise.h"

namespace fairway::kernels {

/// Per row, with w = fake_input(form, w): scale = fake_scale(form, the quantile or largest of |w|); out =
/// fake_quantised(w, scale). `out` may be w. False, with `out` unspecified, if a w is not finite.
[[nodiscard]] bool fake_quantise_rows(const float* w, int64_t rows, int64_t columns, ops::FakeForm form, float* out);

}  // namespace fairway::kernels

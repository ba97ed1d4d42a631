/// Fake quantisation of one row in training with steps that have a floor: what late quantisation-aware training sees.
///
/// PR 65's own form, without a floor, is fake_quantise_row65 (row_quantiser.h). `out` may alias `row`; false, with `out` unspecified, if
/// the row holds a NaN or an infinity. NUMERICS.md, 27.12.
#pragma once

#include <span>

namespace fairway::quant {

/// s = max(max |w| / 31, 1 / 31); out = bf16(rint(w / s) * s): PRs 212 to 635.
bool fake_quantise_row_max(std::span<const float> row, std::span<float> out);

/// c = quantile_{0.9999984}(|w|); s = max(c / 127, 1 / 127); out = bf16(q * s), q = rint(clamp(w, -c, c) / s) within +-127: PR 212.
bool fake_quantise_row_int8(std::span<const float> row, std::span<float> out);

}  // namespace fairway::quant

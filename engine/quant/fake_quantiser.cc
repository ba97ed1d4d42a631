#include "engine/quant/fake_quantiser.h"

#include <algorithm>

#include "engine/quant/row_quantiser.h"
#include "kernels/fake_quantise.h"

namespace fairway::quant {

bool fake_quantise_row_max(std::span<const float> row, std::span<float> out) {
  return kernels::fake_quantise_rows(row.data(), 1, static_cast<int64_t>(row.size()), static_cast<float>(kInt6Limit), out.data());
}

bool fake_quantise_row_int8(std::span<const float> row, std::span<float> out) {
  if (first_non_finite(row) >= 0) return false;
  constexpr float kSteps = static_cast<float>(kInt8Limit);
  const float clip = absolute_quantile(row, kExportQuantile), s = std::max(clip / kSteps, 1.0f / kSteps);
  std::transform(row.begin(), row.end(), out.begin(), [clip, s](float w) {
    const int32_t q = std::clamp(num::round_to_int(clip_to(w, clip) / s), -kInt8Limit, kInt8Limit);
    return num::round_to_bf16(static_cast<float>(q) * s);
  });
  return true;
}

}  // namespace fairway::quant

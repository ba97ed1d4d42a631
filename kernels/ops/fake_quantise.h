/// Fake quantisation of a row: weights as training sees them that will be stored in few steps (NUMERICS.md, 17.1 and
/// 27.12).
#pragma once

#include "kernels/num/half.h"
#include "kernels/ops/quantile.h"

namespace fairway::ops {

enum class FakeForm {
  kInt6Row,     ///< PR 65: bfloat16 weights, clipped at their quantile; no floor under the step
  kInt6RowMax,  ///< steps of the largest magnitude
  kInt8Row,     ///< clipped at the quantile
};

/// True if a row is clipped at the quantile `kExportQuantile` of its magnitudes, else at the largest.
FAIRWAY_HD bool clips_at_quantile(FakeForm form) { return form != FakeForm::kInt6RowMax; }

/// Largest integer.
FAIRWAY_HD float fake_limit(FakeForm form) { return form == FakeForm::kInt8Row ? 127.0f : 31.0f; }

/// The weight that the rest applies to.
FAIRWAY_HD float fake_input(FakeForm form, float w) { return form == FakeForm::kInt6Row ? num::round_to_bf16(w) : w; }

/// The larger of two numbers that are not negative. Compared as bits: a comparison of floats may become an instruction
/// with NaN rules of its own.
FAIRWAY_HD float larger(float a, float b) { return num::bits_of(a) > num::bits_of(b) ? a : b; }

struct FakeScale {
  float clip, step;
};

/// From the quantile or the largest of a row's magnitudes: step = clip / limit; a floor of 1e-8 under the clip of
/// kInt6Row, of 1 / limit under the step of the others.
FAIRWAY_HD FakeScale fake_scale(FakeForm form, float reach) {
  const float limit = fake_limit(form);
  if (form == FakeForm::kInt6Row) {
    const float clip = larger(reach, 1e-8f);
    return {clip, clip / limit};
  }
  return {reach, larger(reach / limit, 1.0f / limit)};
}

/// bf16(rint(clamp(w, -clip, clip) / step) * step). The integer needs no clamp of its own: a clip is at most `limit`
/// steps, up to the rounding of one division.
FAIRWAY_HD float fake_quantised(float w, FakeScale s) {
  return num::round_to_bf16(static_cast<float>(num::round_to_int(clip_to(w, s.clip) / s.step)) * s.step);
}

}  // namespace fairway::ops

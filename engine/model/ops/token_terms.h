/// The gradient of a trained scalar: one term per token, the row dot of two matrices.
#pragma once

#include "engine/model/tape.h"

namespace fairway::model {

/// accumulator += sum over tokens of round(dot(dy, x)). `terms` is working memory. The error is a what of Op::bad_value, or null.
inline const char* accumulate_token_dots(Tape& tape, const float* dy, const float* x, int64_t width, kernels::Buffer<float>& terms,
                                         int64_t* accumulator) {
  const Batch& b = tape.batch();
  tape.resize(terms, b.tokens());
  if (!tape.executor().row_dot(dy, x, b.tokens(), width, terms.data())) return kNotFinite;
  if (!tape.executor().accumulate_rows(terms.data(), b.tokens(), 1, b.term_limit, accumulator)) return kGradientTooLarge;
  return nullptr;
}

}  // namespace fairway::model

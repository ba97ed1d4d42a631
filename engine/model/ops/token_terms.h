/// The gradient of a trained scalar: one term per token, the row dot of two matrices.
#pragma once

#include "engine/model/tape.h"
#include "kernels/accumulate.h"
#include "kernels/rows.h"

namespace fairway::model {

/// accumulator += sum over tokens of round(dot(dy, x)). `terms` is working memory. The error is a what of Op::bad_value, or null.
inline const char* accumulate_token_dots(const Batch& b, const float* dy, const float* x, int64_t width, kernels::Buffer<float>& terms,
                                         int64_t* accumulator) {
  terms.resize(static_cast<size_t>(b.tokens()));
  if (!kernels::row_dot(dy, x, b.tokens(), width, terms.data())) return kNotFinite;
  if (!kernels::accumulate_rows(terms.data(), b.tokens(), 1, b.term_limit, accumulator)) return kGradientTooLarge;
  return nullptr;
}

}  // namespace fairway::model

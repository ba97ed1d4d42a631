#include "engine/model/ops/head_gain.h"

#include "kernels/accumulate.h"
#include "kernels/elementwise.h"
#include "kernels/rows.h"

namespace fairway::model {

Status HeadGain::forward(Tape& tape) {
  const int64_t heads = gain_.count();
  kernels::scale_heads(tape.data(in_), gain_.value(), tape.batch().tokens(), heads, tape.width(in_) / heads, tape.data(out_));
  return {};
}

Status HeadGain::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t heads = gain_.count(), depth = tape.width(in_) / heads;
  const float* dy = tape.gradient(out_);
  products_.resize(static_cast<size_t>(b.tokens() * heads));
  if (!kernels::row_dot(dy, tape.data(in_), b.tokens() * heads, depth, products_.data())) return bad_value(kNotFinite);
  if (!kernels::accumulate_rows(products_.data(), b.tokens(), heads, b.term_limit, gain_.gradient())) {
    return bad_value(kGradientTooLarge);
  }
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
    kernels::scale_heads(dy, gain_.value(), b.tokens(), heads, depth, dx);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

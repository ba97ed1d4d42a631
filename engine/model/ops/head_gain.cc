#include "engine/model/ops/head_gain.h"

namespace fairway::model {

Status HeadGain::forward(Tape& tape) {
  const int64_t heads = gain_.count();
  tape.executor().scale_heads(tape.data(in_), gain_.data(), tape.batch().tokens(), heads, tape.width(in_) / heads, tape.data(out_));
  return {};
}

Status HeadGain::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t heads = gain_.count(), depth = tape.width(in_) / heads;
  const float* dy = tape.gradient(out_);
  tape.resize(products_, b.tokens() * heads);
  if (!tape.executor().row_dot(dy, tape.data(in_), b.tokens() * heads, depth, products_.data())) return bad_value(kNotFinite);
  if (!tape.executor().accumulate_rows(products_.data(), b.tokens(), heads, b.term_limit, gain_.gradient())) {
    return bad_value(kGradientTooLarge);
  }
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
    tape.executor().scale_heads(dy, gain_.data(), b.tokens(), heads, depth, dx);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

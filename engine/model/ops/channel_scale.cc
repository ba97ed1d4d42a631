#include "engine/model/ops/channel_scale.h"

namespace fairway::model {

Status ChannelScale::forward(Tape& tape) {
  const int64_t n = tape.width(out_);
  tape.resize(scale_, n);
  tape.executor().scale(s_.data(), factor_, n, scale_.data());
  tape.executor().scale_channels(tape.data(in_), scale_.data(), tape.batch().tokens(), n, tape.data(out_));
  return {};
}

Status ChannelScale::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t n = tape.width(out_), tokens = b.tokens();
  const float* dy = tape.gradient(out_);
  tape.resize(terms_, tokens * n);
  tape.executor().scale(tape.data(in_), factor_, tokens * n, terms_.data());
  if (!tape.executor().accumulate_products(dy, terms_.data(), tokens, n, b.term_limit, s_.gradient()))
    return bad_value(kGradientTooLarge);
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
    tape.executor().scale_channels(dy, scale_.data(), tokens, n, dx);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

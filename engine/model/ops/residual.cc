#include "engine/model/ops/residual.h"

namespace fairway::model {

Status ResidualMix::forward(Tape& tape) {
  const int64_t n = tape.width(out_);
  tape.executor().mix(tape.data(x_), tape.data(x0_), mix_.data(), mix_.data() + n, tape.batch().tokens(), n, tape.data(out_));
  return {};
}

Status ResidualMix::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t n = tape.width(out_), tokens = b.tokens();
  const float* du = tape.gradient(out_);
  if (!tape.executor().accumulate_products(du, tape.data(x_), tokens, n, b.term_limit, mix_.gradient()) ||
      !tape.executor().accumulate_products(du, tape.data(x0_), tokens, n, b.term_limit, mix_.gradient() + n)) {
    return bad_value(kGradientTooLarge);
  }
  FAIRWAY_TRY(tape.contribute(x0_, [&](float* dx0) -> Status {
    tape.executor().scale_channels(du, mix_.data() + n, tokens, n, dx0);
    return {};
  }));
  FAIRWAY_TRY(tape.contribute(x_, [&](float* dx) -> Status {
    tape.executor().scale_channels(du, mix_.data(), tokens, n, dx);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

Status ScaledAdd::forward(Tape& tape) {
  const int64_t n = tape.width(out_);
  tape.executor().scaled_add(tape.data(x_), scale_.data() + row_ * n, tape.data(a_), tape.batch().tokens(), n, tape.data(out_));
  return {};
}

Status ScaledAdd::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t n = tape.width(out_), tokens = b.tokens();
  const float* dy = tape.gradient(out_);
  if (!tape.executor().accumulate_products(dy, tape.data(a_), tokens, n, b.term_limit, scale_.gradient() + row_ * n)) {
    return bad_value(kGradientTooLarge);
  }
  FAIRWAY_TRY(tape.contribute(a_, [&](float* da) -> Status {
    tape.executor().scale_channels(dy, scale_.data() + row_ * n, tokens, n, da);
    return {};
  }));
  tape.contribute_copy(x_, dy);
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

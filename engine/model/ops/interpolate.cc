#include "engine/model/ops/interpolate.h"

namespace fairway::model {

Status Interpolate::forward(Tape& tape) {
  const int64_t n = tape.width(out_);
  for (auto* buffer : {&step_, &rest_, &slope_}) tape.resize(*buffer, n);
  tape.executor().interpolation_rates(rate_.data() + row_ * n, factor_, n, step_.data(), rest_.data(), slope_.data());
  tape.executor().interpolate(tape.data(x_), step_.data(), tape.data(u_), tape.batch().tokens(), n, tape.data(out_));
  return {};
}

Status Interpolate::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t n = tape.width(out_), tokens = b.tokens();
  const float* dy = tape.gradient(out_);
  tape.resize(terms_, tokens * n);
  tape.executor().scaled_difference(tape.data(u_), tape.data(x_), slope_.data(), tokens, n, terms_.data());
  if (!tape.executor().accumulate_products(dy, terms_.data(), tokens, n, b.term_limit, rate_.gradient() + row_ * n)) {
    return bad_value(kGradientTooLarge);
  }
  FAIRWAY_TRY(tape.contribute(u_, [&](float* du) -> Status {
    tape.executor().scale_channels(dy, step_.data(), tokens, n, du);
    return {};
  }));
  FAIRWAY_TRY(tape.contribute(x_, [&](float* dx) -> Status {
    tape.executor().scale_channels(dy, rest_.data(), tokens, n, dx);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

#include "engine/model/ops/interpolate.h"

#include "kernels/accumulate.h"
#include "kernels/elementwise.h"

namespace fairway::model {

Status Interpolate::forward(Tape& tape) {
  const int64_t n = tape.width(out_);
  for (auto* buffer : {&step_, &rest_, &slope_}) buffer->resize(static_cast<size_t>(n));
  const float* rate = rate_.value() + row_ * n;
  float *step = step_.data(), *rest = rest_.data(), *slope = slope_.data();
  for (int64_t c = 0; c < n; ++c) {
    const float a = factor_ * rate[c];
    step[c] = a < 0.0f ? -a : a;
    rest[c] = 1.0f - step[c];
    slope[c] = a < 0.0f ? -factor_ : factor_;
  }
  kernels::interpolate(tape.data(x_), step_.data(), tape.data(u_), tape.batch().tokens(), n, tape.data(out_));
  return {};
}

Status Interpolate::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t n = tape.width(out_), tokens = b.tokens();
  const float* dy = tape.gradient(out_);
  terms_.resize(static_cast<size_t>(tokens * n));
  kernels::scaled_difference(tape.data(u_), tape.data(x_), slope_.data(), tokens, n, terms_.data());
  if (!kernels::accumulate_products(dy, terms_.data(), tokens, n, b.term_limit, rate_.gradient() + row_ * n)) {
    return bad_value(kGradientTooLarge);
  }
  FAIRWAY_TRY(tape.contribute(u_, [&](float* du) -> Status {
    kernels::scale_channels(dy, step_.data(), tokens, n, du);
    return {};
  }));
  FAIRWAY_TRY(tape.contribute(x_, [&](float* dx) -> Status {
    kernels::scale_channels(dy, rest_.data(), tokens, n, dx);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

#include "engine/model/ops/short_convolution.h"

#include "kernels/ops/delta_rule.h"

namespace fairway::model {

Status ShortConvolution::forward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t n = tape.width(in_);
  tape.resize(sums_, b.tokens() * n);
  tape.executor().short_convolution(tape.data(in_), w_.data(), b.tokens(), b.length, n, sums_.data(), tape.data(out_));
  return {};
}

Status ShortConvolution::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t n = tape.width(in_), tokens = b.tokens();
  const float* dy = tape.gradient(out_);
  tape.resize(sums_gradient_, tokens * n);
  tape.resize(earlier_, tokens * n);
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
    tape.executor().short_convolution_backward(dy, sums_.data(), w_.data(), tokens, b.length, n, sums_gradient_.data(),
                                               dx);
    return {};
  }));
  for (int64_t tap = 0; tap < ops::kConvolutionTaps; ++tap) {
    tape.executor().moved_back(tape.data(in_), ops::kConvolutionTaps - 1 - tap, tokens, b.length, n, earlier_.data());
    if (!tape.executor().accumulate_products(sums_gradient_.data(), earlier_.data(), tokens, n, b.term_limit,
                                             w_.gradient() + tap * n)) {
      return bad_value(kGradientTooLarge);
    }
  }
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

#include "engine/model/ops/smear_gate.h"

#include "kernels/ops/smear.h"

namespace fairway::model {

Status SmearGate::forward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t n = tape.width(in_);
  tape.resize(s_, n);
  tape.resize(rest_, n);
  tape.executor().sigmoid_gates(gate_.data(), n, s_.data(), rest_.data());
  const float *keep = keeps_ ? s_.data() : rest_.data(), *carry = keeps_ ? rest_.data() : s_.data();
  tape.executor().smear_channels(tape.data(in_), keep, carry, b.tokens(), b.length, n, tape.data(out_));
  return {};
}

Status SmearGate::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t n = tape.width(in_);
  const float* dy = tape.gradient(out_);
  tape.resize(terms_, b.tokens() * n);
  tape.executor().smear_gate_terms(dy, tape.data(in_), s_.data(), !keeps_, b.tokens(), b.length, n, terms_.data());
  if (!tape.executor().accumulate_rows(terms_.data(), b.tokens(), n, b.term_limit, gate_.gradient())) return bad_value(kGradientTooLarge);
  const float *keep = keeps_ ? s_.data() : rest_.data(), *carry = keeps_ ? rest_.data() : s_.data();
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
    tape.executor().smear_channels_backward(dy, keep, carry, b.tokens(), b.length, n, dx);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

Status TokenSmearGate::forward(Tape& tape) {
  const Batch& b = tape.batch();
  tape.resize(gate_, b.tokens());
  if (!tape.executor().smear_tokens(tape.data(in_), weight_.data(), bias_.data(), b.tokens(), b.length, tape.width(in_), gate_.data(),
                                    tape.data(out_))) {
    return bad_value(kNotFinite);
  }
  return {};
}

Status TokenSmearGate::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t tokens = b.tokens(), n = tape.width(in_), channels = ops::kSmearChannels;
  const float *dy = tape.gradient(out_), *x = tape.data(in_);
  tape.resize(dz_, tokens);
  tape.resize(terms_, tokens * channels);
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
    if (!tape.executor().smear_tokens_backward(dy, x, weight_.data(), gate_.data(), tokens, b.length, n, dz_.data(), terms_.data(), dx)) {
      return bad_value(kNotFinite);
    }
    return {};
  }));
  if (!tape.executor().accumulate_rows(terms_.data(), tokens, channels, b.term_limit, weight_.gradient()) ||
      !tape.executor().accumulate_rows(dz_.data(), tokens, 1, b.term_limit, bias_.gradient())) {
    return bad_value(kGradientTooLarge);
  }
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

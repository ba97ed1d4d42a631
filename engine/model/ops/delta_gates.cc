#include "engine/model/ops/delta_gates.h"

namespace fairway::model {

Status DeltaGates::forward(Tape& tape) {
  const int64_t heads = tape.width(a_), tokens = tape.batch().tokens();
  tape.resize(rate_, heads);
  tape.resize(time_, tokens * heads);
  tape.executor().delta_gates(tape.data(a_), tape.data(b_), a_log_.data(), dt_bias_.data(), tokens, heads, rate_.data(),
                              time_.data(), tape.data(decay_), tape.data(beta_));
  return {};
}

Status DeltaGates::backward(Tape& tape) {
  const int64_t heads = tape.width(a_), tokens = tape.batch().tokens();
  const float limit = tape.batch().term_limit;
  for (auto* buffer : {&rate_terms_, &time_terms_, &beta_terms_}) tape.resize(*buffer, tokens * heads);
  // Decay and beta have the delta rule as their only use.
  tape.executor().delta_gates_backward(
      {tokens, heads, tape.data(a_), dt_bias_.data(), rate_.data(), time_.data(), tape.data(decay_), tape.data(beta_),
       tape.gradient(decay_), tape.gradient(beta_), rate_terms_.data(), time_terms_.data(), beta_terms_.data()});
  if (!tape.executor().accumulate_rows(rate_terms_.data(), tokens, heads, limit, a_log_.gradient()) ||
      !tape.executor().accumulate_rows(time_terms_.data(), tokens, heads, limit, dt_bias_.gradient())) {
    return bad_value(kGradientTooLarge);
  }
  tape.contribute_copy(b_, beta_terms_.data());
  tape.contribute_copy(a_, time_terms_.data());
  tape.release_gradient(beta_);
  tape.release_gradient(decay_);
  return {};
}

}  // namespace fairway::model

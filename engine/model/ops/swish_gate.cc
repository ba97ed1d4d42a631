#include "engine/model/ops/swish_gate.h"

namespace fairway::model {

Status SwishGate::forward(Tape& tape) {
  const int64_t count = tape.batch().tokens() * tape.width(n_);
  tape.executor().swish_gate(tape.data(n_), w_.data(), tape.data(g_), count, w_.count(), tape.data(out_));
  return {};
}

Status SwishGate::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t m = w_.count(), count = b.tokens() * tape.width(n_), rows = count / m;
  const float *n = tape.data(n_), *g = tape.data(g_), *dy = tape.gradient(out_);
  tape.resize(gated_, count);
  FAIRWAY_TRY(tape.contribute(g_, [&](float* dg) -> Status {
    tape.executor().swish_gate_backward(dy, n, w_.data(), g, count, m, gated_.data(), dg);
    return {};
  }));
  if (!tape.executor().accumulate_products(gated_.data(), n, rows, m, b.term_limit, w_.gradient()))
    return bad_value(kGradientTooLarge);
  FAIRWAY_TRY(tape.contribute(n_, [&](float* dn) -> Status {
    tape.executor().scale_channels(gated_.data(), w_.data(), rows, m, dn);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

#include "engine/model/ops/head_gate.h"

namespace fairway::model {

Status HeadGate::forward(Tape& tape) {
  const int64_t heads = bias_.count(), rows = tape.batch().tokens() * heads;
  tape.resize(gate_, rows);
  tape.executor().head_gates(tape.data(z_), bias_.data(), tape.batch().tokens(), heads, gate_.data());
  tape.executor().scale_rows(tape.data(in_), gate_.data(), rows, tape.width(in_) / heads, tape.data(out_));
  return {};
}

Status HeadGate::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t heads = bias_.count(), rows = b.tokens() * heads, depth = tape.width(in_) / heads;
  const float* dy = tape.gradient(out_);
  tape.resize(dz_, rows);
  float *dz = dz_.data(), *gate = gate_.data();
  if (!tape.executor().row_dot(dy, tape.data(in_), rows, depth, dz)) return bad_value(kNotFinite);
  tape.executor().sigmoid_gates_backward(gate, rows, dz);
  if (!tape.executor().accumulate_rows(dz, b.tokens(), heads, b.term_limit, bias_.gradient())) return bad_value(kGradientTooLarge);
  tape.contribute_copy(z_, dz);
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
    tape.executor().scale_rows(dy, gate, rows, depth, dx);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

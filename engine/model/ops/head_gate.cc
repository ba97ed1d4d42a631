#include "engine/model/ops/head_gate.h"

#include "kernels/accumulate.h"
#include "kernels/cpu/parallel.h"
#include "kernels/elementwise.h"
#include "kernels/num/tanh.h"
#include "kernels/ops/sigmoid_gate.h"
#include "kernels/rows.h"

namespace fairway::model {

Status HeadGate::forward(Tape& tape) {
  const int64_t heads = bias_.count(), rows = tape.batch().tokens() * heads;
  gate_.resize(static_cast<size_t>(rows));
  const float *z = tape.data(z_), *bias = bias_.value();
  float* gate = gate_.data();
  kernels::parallel_ranges(rows, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) gate[i] = num::sigmoid(z[i] + bias[i % heads]);
  });
  kernels::scale_rows(tape.data(in_), gate, rows, tape.width(in_) / heads, tape.data(out_));
  return {};
}

Status HeadGate::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t heads = bias_.count(), rows = b.tokens() * heads, depth = tape.width(in_) / heads;
  const float* dy = tape.gradient(out_);
  dz_.resize(static_cast<size_t>(rows));
  float *dz = dz_.data(), *gate = gate_.data();
  if (!kernels::row_dot(dy, tape.data(in_), rows, depth, dz)) return bad_value(kNotFinite);
  kernels::parallel_ranges(rows, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) dz[i] = ops::sigmoid_gradient(dz[i], gate[i]);
  });
  if (!kernels::accumulate_rows(dz, b.tokens(), heads, b.term_limit, bias_.gradient())) return bad_value(kGradientTooLarge);
  tape.contribute_copy(z_, dz);
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
    kernels::scale_rows(dy, gate, rows, depth, dx);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

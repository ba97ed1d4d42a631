#include "engine/model/ops/swish_gate.h"

#include "kernels/accumulate.h"
#include "kernels/cpu/parallel.h"
#include "kernels/elementwise.h"
#include "kernels/ops/delta_rule.h"

namespace fairway::model {
namespace {
constexpr int64_t kElements = 16384;
}

Status SwishGate::forward(Tape& tape) {
  const int64_t m = w_.count(), count = tape.batch().tokens() * tape.width(n_);
  const float *n = tape.data(n_), *g = tape.data(g_), *w = w_.value();
  float* y = tape.data(out_);
  kernels::parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) y[i] = (n[i] * w[i % m]) * ops::silu(g[i]);
  });
  return {};
}

Status SwishGate::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t m = w_.count(), count = b.tokens() * tape.width(n_), rows = count / m;
  const float *n = tape.data(n_), *g = tape.data(g_), *w = w_.value(), *dy = tape.gradient(out_);
  gated_.resize(static_cast<size_t>(count));
  float* gated = gated_.data();
  kernels::parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) gated[i] = dy[i] * ops::silu(g[i]);
  });
  if (!kernels::accumulate_products(gated, n, rows, m, b.term_limit, w_.gradient()))
    return bad_value(kGradientTooLarge);
  FAIRWAY_TRY(tape.contribute(g_, [&](float* dg) -> Status {
    kernels::parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        dg[i] = ops::silu_gradient(dy[i] * (n[i] * w[i % m]), g[i], num::sigmoid(g[i]));
    });
    return {};
  }));
  FAIRWAY_TRY(tape.contribute(n_, [&](float* dn) -> Status {
    kernels::scale_channels(gated, w, rows, m, dn);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

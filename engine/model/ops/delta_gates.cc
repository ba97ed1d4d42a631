#include "engine/model/ops/delta_gates.h"

#include "kernels/accumulate.h"
#include "kernels/cpu/parallel.h"
#include "kernels/ops/delta_rule.h"
#include "kernels/ops/sigmoid_gate.h"

namespace fairway::model {
namespace {
constexpr int64_t kElements = 4096;
}

Status DeltaGates::forward(Tape& tape) {
  const int64_t heads = tape.width(a_), count = tape.batch().tokens() * heads;
  rate_.resize(static_cast<size_t>(heads));
  time_.resize(static_cast<size_t>(count));
  float *rate = rate_.data(), *time = time_.data(), *decay = tape.data(decay_), *beta = tape.data(beta_);
  const float *a = tape.data(a_), *b = tape.data(b_), *bias = dt_bias_.value();
  for (int64_t h = 0; h < heads; ++h) rate[h] = num::exp(a_log_.value()[h]);
  kernels::parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t h = i % heads;
      time[i] = ops::softplus(a[i] + bias[h]);
      decay[i] = num::exp(-(rate[h] * time[i]));
      beta[i] = num::sigmoid(b[i]);
    }
  });
  return {};
}

Status DeltaGates::backward(Tape& tape) {
  const int64_t heads = tape.width(a_), tokens = tape.batch().tokens(), count = tokens * heads;
  const float limit = tape.batch().term_limit;
  for (auto* buffer : {&rate_terms_, &time_terms_, &beta_terms_}) buffer->resize(static_cast<size_t>(count));
  const float *rate = rate_.data(), *time = time_.data(), *decay = tape.data(decay_), *beta = tape.data(beta_),
              *a = tape.data(a_), *bias = dt_bias_.value();
  // Decay and beta have the delta rule as their only use.
  const float *ddecay = tape.gradient(decay_), *dbeta = tape.gradient(beta_);
  kernels::parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t h = i % heads;
      const float exponent_gradient = -(decay[i] * ddecay[i]);
      rate_terms_.data()[i] = exponent_gradient * (rate[h] * time[i]);
      time_terms_.data()[i] = ops::softplus_gradient(exponent_gradient * rate[h], a[i] + bias[h]);
      beta_terms_.data()[i] = ops::sigmoid_gradient(dbeta[i], beta[i]);
    }
  });
  if (!kernels::accumulate_rows(rate_terms_.data(), tokens, heads, limit, a_log_.gradient()) ||
      !kernels::accumulate_rows(time_terms_.data(), tokens, heads, limit, dt_bias_.gradient())) {
    return bad_value(kGradientTooLarge);
  }
  tape.contribute_copy(b_, beta_terms_.data());
  tape.contribute_copy(a_, time_terms_.data());
  tape.release_gradient(beta_);
  tape.release_gradient(decay_);
  return {};
}

}  // namespace fairway::model

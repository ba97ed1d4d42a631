#include "kernels/ops/cross_entropy.h"

#include "kernels/cpu/isa/functions.h"
#include "kernels/ops/attention.h"

namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE {

bool cross_entropy(const CrossEntropyRows& c, int64_t begin, int64_t end) {
  const int64_t vocab = c.vocab;
  for (int64_t row = begin; row < end; ++row) {
    float* __restrict z = c.logits + row * vocab;
    int32_t max_ordered = INT32_MIN;
    uint32_t max_bits = 0;
    for (int64_t i = 0; i < vocab; ++i) {
      uint32_t raw = num::magnitude_bits(z[i]);
      max_bits = raw > max_bits ? raw : max_bits;
      z[i] = ops::softcap(z[i], c.cap);
      int32_t ordered = ops::ordered_bits(z[i]);
      max_ordered = ordered > max_ordered ? ordered : max_ordered;
    }
    if (max_bits >= num::kInfinityBits) return false;
    float max = ops::from_ordered_bits(max_ordered);
    int64_t sum = 0;
    for (int64_t i = 0; i < vocab; ++i) sum += num::probability_units(ops::logit_weight(z[i], max));
    const int64_t target = c.targets[row];
    c.nll[row] = ops::nll_of(sum, max, z[target]);
    if (!(num::absolute(c.nll[row]) < num::kLossLimit)) return false;
    if (!c.gradient) continue;
    float inverse = ops::inverse_sum(sum);
    float target_logit = z[target];
    for (int64_t i = 0; i < vocab; ++i) {
      float p = ops::logit_gradient(ops::logit_weight(z[i], max), inverse, false);
      z[i] = ops::capped_gradient(p, ops::softcap_derivative(z[i], c.cap));
    }
    float p = ops::logit_gradient(ops::logit_weight(target_logit, max), inverse, true);
    z[target] = ops::capped_gradient(p, ops::softcap_derivative(target_logit, c.cap));
  }
  return true;
}

}  // namespace fairway::kernels::FAIRWAY_ISA_NAMESPACE

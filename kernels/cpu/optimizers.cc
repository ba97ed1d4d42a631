#include "kernels/optimizers.h"

#include "kernels/cpu/parallel.h"
#include "kernels/ops/averages.h"
#include "kernels/ops/muon.h"
#include "kernels/ops/worker_mean.h"

namespace fairway::kernels {

void adam(const float* g, bool bf16, const ops::AdamStep& step, int64_t count, float* m, float* v, float* w) {
  parallel_elements(count, [&](int64_t i) { ops::adam_element(g[i], bf16, step, m[i], v[i], w[i]); });
}

void sgd(const float* g, bool bf16, const ops::SgdStep& step, int64_t count, float* u, float* w) {
  parallel_elements(count, [&](int64_t i) { ops::sgd_element(g[i], bf16, step, u[i], w[i]); });
}

void muon_momentum(float mu, bool bf16, int64_t count, float* u, float* momentum) {
  parallel_elements(count, [&](int64_t i) {
    u[i] = bf16 ? ops::muon_momentum_bf16(u[i], mu, momentum[i]) : ops::muon_momentum(u[i], mu, momentum[i]);
  });
}

void muon_update(const float* u, float shape_factor, float lr, float decay_before, float decay_after, int64_t count,
                 float* w) {
  parallel_elements(count, [&](int64_t i) { w[i] = ops::muon_update(w[i], u[i], shape_factor, lr, decay_before, decay_after); });
}

void parallel_muon_update(const float* u, float scaled_lr, float decay, int64_t count, float* w) {
  parallel_elements(count, [&](int64_t i) { w[i] = ops::parallel_muon_update(w[i], u[i], scaled_lr, decay); });
}

void add_worker(const float* g, bool bf16, double unit, int64_t count, int64_t* sum) {
  parallel_elements(count, [&](int64_t i) { sum[i] += ops::worker_units(bf16 ? num::round_to_bf16(g[i]) : g[i], unit); });
}

void worker_mean(const int64_t* sum, int32_t exponent, float workers, int64_t count, float* g) {
  parallel_elements(count, [&](int64_t i) { g[i] = ops::worker_mean(sum[i], exponent, workers); });
}

void average(const float* w, float decay, float rest, int64_t count, float* ema) {
  parallel_elements(count, [&](int64_t i) { ema[i] = ops::ema_element(ema[i], w[i], decay, rest); });
}

}  // namespace fairway::kernels

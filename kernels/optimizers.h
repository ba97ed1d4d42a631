/// Element-by-element steps of optimizers and weight averages (NUMERICS.md, "Adam", "Muon", "Clipping per worker",
/// "Averages").
#pragma once

#include <cstdint>

#include "kernels/ops/adam.h"
#include "kernels/ops/sgd.h"

namespace fairway::kernels {

/// m, v and w go on by one step of Adam; with `bf16` as stored in it (ops/adam.h).
void adam(const float* g, bool bf16, const ops::AdamStep& step, int64_t count, float* m, float* v, float* w);

/// The momentum u and w go on by one step of SGD; with `bf16` as stored in it (ops/sgd.h).
void sgd(const float* g, bool bf16, const ops::SgdStep& step, int64_t count, float* u, float* w);

/// The gradient u becomes the input of Newton-Schulz; the momentum goes on by one step. With `bf16` as stored in it.
void muon_momentum(float mu, bool bf16, int64_t count, float* u, float* momentum);

/// w after Muon's update u' (ops/muon.h).
void muon_update(const float* u, float shape_factor, float lr, float decay_before, float decay_after, int64_t count,
                 float* w);
void parallel_muon_update(const float* u, float scaled_lr, float decay, int64_t count, float* w);

/// sum[i] += g[i], rounded to bf16 first with `bf16`, in units of 1 / `unit` (ops/worker_mean.h).
void add_worker(const float* g, bool bf16, double unit, int64_t count, int64_t* sum);
/// g[i] = sum[i] * 2^exponent / workers.
void worker_mean(const int64_t* sum, int32_t exponent, float workers, int64_t count, float* g);

/// ema = ema decay + rest w.
void average(const float* w, float decay, float rest, int64_t count, float* ema);

}  // namespace fairway::kernels

/// Learning-rate multiplier and momentum warm-up (NUMERICS.md, N9): scalars of a step, in binary64.
#pragma once

#include <cstdint>

namespace fairway::optim {

enum class ScheduleKind {
  kSteps,      ///< the multiplier is a function of the step
  kWallclock,  ///< of the elapsed training time as well; the value used is recorded and replayed
};

struct ScheduleConfig {
  ScheduleKind kind = ScheduleKind::kSteps;
  int64_t iterations = 20000;
  int64_t warmdown_iters = 1200;
  double max_wallclock_seconds = 600.0;  ///< kWallclock only
};

/// By steps, k = completed steps, I = iterations, W = warmdown_iters: 1 if W <= 0 or k < I - W; else max((I - k) / W, 0).
double multiplier_by_steps(const ScheduleConfig& config, int64_t completed_steps);

/// By wallclock, e = elapsed training milliseconds before this step, T the limit in ms:
/// s = e / max(k, 1); w = W * s; rem = max(T - e, 0); rem <= w ? rem / max(w, 1e-9) : 1. Step 0 gives 1.
double multiplier_by_wallclock(const ScheduleConfig& config, int64_t completed_steps, double elapsed_ms);

struct MomentumConfig {
  double final = 0.95;
  double warmup_start = 0.85;
  int64_t warmup_steps = 500;
};

/// (1 - f) * start + f * final with f = min(k / steps, 1), f = 1 if steps <= 0; k the 0-based step.
double momentum_at(const MomentumConfig& config, int64_t step);

}  // namespace fairway::optim

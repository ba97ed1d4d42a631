#include "engine/optim/schedule.h"

namespace fairway::optim {

double multiplier_by_steps(const ScheduleConfig& c, int64_t completed_steps) {
  if (c.warmdown_iters <= 0 || completed_steps < c.iterations - c.warmdown_iters) return 1.0;
  const double left = static_cast<double>(c.iterations - completed_steps);
  return left > 0.0 ? left / static_cast<double>(c.warmdown_iters) : 0.0;
}

double multiplier_by_wallclock(const ScheduleConfig& c, int64_t completed_steps, double elapsed_ms) {
  if (c.warmdown_iters <= 0) return 1.0;
  const double step_ms = elapsed_ms / static_cast<double>(completed_steps > 1 ? completed_steps : 1);
  const double warmdown_ms = static_cast<double>(c.warmdown_iters) * step_ms;
  const double left = c.max_wallclock_seconds * 1000.0 - elapsed_ms;
  const double remaining = left > 0.0 ? left : 0.0;
  if (remaining > warmdown_ms) return 1.0;
  return remaining / (warmdown_ms > 1e-9 ? warmdown_ms : 1e-9);
}

double momentum_at(const MomentumConfig& c, int64_t step) {
  double f = c.warmup_steps <= 0 ? 1.0 : static_cast<double>(step) / static_cast<double>(c.warmup_steps);
  f = f < 1.0 ? f : 1.0;
  return (1.0 - f) * c.warmup_start + f * c.final;
}

}  // namespace fairway::optim

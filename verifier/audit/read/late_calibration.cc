#include "verifier/audit/read/late_calibration.h"

#include "verifier/audit/read/log_lines.h"
#include "verifier/audit/read/text.h"

namespace fairway::audit {

const LogMarker* late_calibration(const LoggedRun& run) {
  constexpr double kLimitMs = 600'000;
  if (!run.stop_reason || !run.train_time_ms || run.train_time_ms->value < kLimitMs - 1000) return nullptr;
  const auto reserve = run.hyperparameters.find("gptq_reserve_seconds");
  if (reserve != run.hyperparameters.end() && number_at(reserve->second.value).value_or(Number{}).value > 0)
    return nullptr;
  const LogMarker* found = nullptr;
  for (const LogMarker& m : run.markers) {
    if (contains_lower(m.text, "generat") || contains_lower(m.text, "autoregressive") || contains_lower(m.text, "self"))
      return nullptr;
    if (found == nullptr && m.place.line > run.stop_reason->place.line && contains_lower(m.text, "calibrat"))
      found = &m;
  }
  return found;
}

}  // namespace fairway::audit

/// Calibration that starts when the time for training is over.
#pragma once

#include "verifier/audit/facts.h"

namespace fairway::audit {

/// A line about calibration after a run that spent the whole limit of 600 s on training, or null. Text that the model
/// made itself is allowed for it, and a script that keeps seconds back for calibration counts it as training.
const LogMarker* late_calibration(const LoggedRun& run);

}  // namespace fairway::audit

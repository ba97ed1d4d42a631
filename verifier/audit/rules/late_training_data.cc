/// R8: training tokens read for calibration after the time for training is over. Calibrating is training: it has to end
/// within the limit. Legal: time kept back for it, or text that the model generates.
#include <algorithm>

#include "verifier/audit/read/late_calibration.h"
#include "verifier/audit/read/track.h"
#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {

void late_training_data(const Context& context, std::vector<Finding>& findings) {
  if (track_of(context.facts) == Track::kNonRecord) return;
  const LogMarker* late = nullptr;
  for (const LoggedRun& run : context.facts.runs) {
    if (!late) late = late_calibration(run);
  }
  if (!late) return;
  const auto& events = context.timeline.events;
  for (size_t i = 0; i < events.size(); ++i) {
    const source::Event& event = events[i];
    if (event.kind != source::EventKind::kCalibration || !event.value.any(source::kTrain) ||
        event.value.any(source::kVal))
      continue;
    const bool trained = std::any_of(events.begin(), events.begin() + static_cast<long>(i), [](const source::Event& e) {
      return e.kind == source::EventKind::kBackward && e.value.any(source::kTrain);
    });
    if (!trained) continue;
    Finding finding;
    finding.id = "legality.calibration";
    finding.level = event.doubt ? verifier::Verdict::kReview : verifier::Verdict::kFail;
    finding.message = event.text + " is given training tokens after the whole time limit was spent on training";
    if (event.doubt) finding.message += "; a setting decides whether it runs. Was it on?";
    finding.evidence = {context.timeline.evidence(event.span), {late->place.file, late->place.line, 0}};
    findings.push_back(std::move(finding));
    return;
  }
}

}  // namespace fairway::audit::rules

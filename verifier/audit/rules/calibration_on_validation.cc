/// R8: a calibration (of a quantiser, a temperature, a mixing weight) that looks at validation tokens before they are
/// scored.
#include <set>

#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {

void calibration_on_validation(const Context& context, std::vector<Finding>& findings) {
  std::set<uint32_t> seen;
  for (const source::Event& event : context.timeline.events) {
    if (event.kind != source::EventKind::kCalibration || !event.value.any(source::kVal)) continue;
    // What adapts while it scores, or after the last score, is no calibration of the artifact.
    bool before = false, online = false;
    for (size_t i : context.scores.reported()) {
      const source::Event& score = context.timeline.events[i];
      before |= &event < &score && !source::Timeline::exclusive(event, score);
      online |= context.timeline.common_loop(event, score) != -1;
    }
    if (!before || online || !seen.insert(event.span.line).second) continue;
    Finding finding;
    finding.id = "legality.calibration";
    finding.level = event.doubt ? verifier::Verdict::kReview : verifier::Verdict::kFail;
    finding.message = event.text + " is given validation tokens before the reported score is computed";
    if (event.doubt)
      finding.message += "; a setting that neither logs nor commands agree on decides whether it runs. Was it on?";
    finding.evidence = {context.timeline.evidence(event.span)};
    // Where the tokens were cut out for it.
    for (const source::Event& slice : context.timeline.events) {
      if (slice.kind == source::EventKind::kSlice && slice.id != source::Origins::kOverflow &&
          event.value.origins.has(slice.id) && finding.evidence.size() < 4) {
        finding.evidence.push_back(context.timeline.evidence(slice.span));
      }
    }
    findings.push_back(std::move(finding));
  }
}

}  // namespace fairway::audit::rules

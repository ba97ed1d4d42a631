/// R5: a gate that looks at the true token, taking whichever of two predictions gives it the higher probability.
#include <set>

#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {

void hindsight_choice(const Context& context, std::vector<Finding>& findings) {
  Finding finding;
  finding.id = "legality.normalized";
  finding.level = verifier::Verdict::kFail;
  finding.message =
      "of two predictions the one that gives the true token more probability enters the reported score: the choice is "
      "made by looking at the target";
  std::set<uint32_t> seen;
  for (const source::Event& event : context.timeline.events) {
    if (event.kind != source::EventKind::kOracle || !context.scores.reaches_report(event.id)) continue;
    if (event.doubt) {
      finding.level = verifier::Verdict::kReview;
    }
    if (seen.insert(event.span.line).second) finding.evidence.push_back(context.timeline.evidence(event.span));
  }
  if (!finding.evidence.empty()) findings.push_back(std::move(finding));
}

}  // namespace fairway::audit::rules

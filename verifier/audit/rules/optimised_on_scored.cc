/// R7, SLOT: a delta or bias optimised on the very positions that are then scored. Open among reviewers, so never more
/// than review.
#include <set>

#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {

using source::Event;
using source::Timeline;

void optimised_on_scored(const Context& context, std::vector<Finding>& findings) {
  const Timeline& timeline = context.timeline;
  std::set<uint32_t> seen;
  for (const Update& update : updates_on_validation(timeline)) {
    if (!update.fresh) continue;
    const Event& backward = timeline.events[update.backward];
    for (size_t i : context.scores.printed()) {
      const Event& score = timeline.events[i];
      if (i < update.backward || Timeline::exclusive(score, backward) || !score.value.any(source::kFresh)) continue;
      if (!context.scores.reaches_report(score.id) || !seen.insert(backward.span.line).second) continue;
      Finding finding;
      finding.id = "legality.slot";
      finding.level = verifier::Verdict::kReview;
      finding.message =
          "a tensor made during evaluation is optimised on validation tokens and then used to score. Are the optimised "
          "span and the scored "
          "span disjoint? There is no ruling on the form where they are not";
      finding.evidence = {timeline.evidence(backward.span), timeline.evidence(score.span)};
      for (int loop = backward.loop; loop != -1; loop = timeline.loops[static_cast<size_t>(loop)].parent) {
        finding.evidence.push_back(timeline.evidence(timeline.loops[static_cast<size_t>(loop)].span));
        break;
      }
      findings.push_back(std::move(finding));
    }
  }
}

}  // namespace fairway::audit::rules

/// R3 and R9: counts gathered from the whole validation stream, or from training shards at evaluation, before the
/// tokens are scored.
#include <set>

#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {

using source::Event;
using source::EventKind;

namespace {

/// True if an event only adds up what was scored before: since the last of these, no validation token was cut out for
/// it and no table read or written.
bool only_sums(const source::Timeline& timeline, size_t score) {
  const Event& event = timeline.events[score];
  if (event.value.origins.has(source::Origins::kOverflow)) return false;
  for (size_t i = score; i-- > 0;) {
    const Event& earlier = timeline.events[i];
    if (earlier.id == source::Origins::kOverflow || !event.value.origins.has(earlier.id)) continue;
    switch (earlier.kind) {
      case EventKind::kScore:
        return true;
      case EventKind::kSlice:
      case EventKind::kTargetKey:
      case EventKind::kTargetRead:
      case EventKind::kTableWrite:
        return false;
      default:
        break;
    }
  }
  return false;
}

}  // namespace

void tables_before_scores(const Context& context, std::vector<Finding>& findings) {
  std::set<std::pair<bool, uint32_t>> seen;
  for (size_t i = 0; i < context.timeline.events.size(); ++i) {
    const Event& write = context.timeline.events[i];
    if (write.kind != EventKind::kTableWrite || !context.scores.reaches_report(write.id)) continue;
    const bool train = write.value.any(source::kTrain) && !write.value.any(source::kVal);
    bool online = false;  // some score comes first in the same iteration
    bool shares = false;  // some score is made in the same iteration
    for (size_t j : context.scores.reported()) {
      const bool common = context.timeline.common_loop(context.timeline.events[j], write) != -1;
      shares |= common;
      online |= common && j < i;
    }
    for (size_t j = i + 1; j < context.timeline.events.size(); ++j) {
      const Event& score = context.timeline.events[j];
      if (score.kind != EventKind::kScore || !context.scores.reaches_report(score.id) ||
          source::Timeline::exclusive(score, write))
        continue;
      if (!train && context.timeline.common_loop(score, write) != -1) continue;
      // After a legal pass only a later score that reads the filled table is a second one.
      if (online && !train && !score.value.origins.has(write.id)) continue;
      if (shares && !train && only_sums(context.timeline, j)) continue;
      if (!seen.insert({train, write.span.line}).second) continue;
      Finding finding;
      finding.id = train ? "data.split" : "legality.single_pass";
      finding.level = write.doubt || score.doubt || train ? verifier::Verdict::kReview : verifier::Verdict::kFail;
      finding.message =
          online && !train ? "a cache filled while the stream was scored is used to score the stream again"
          : train          ? "counts of training tokens are gathered by the script and used to score. Are they part "
                             "of the artifact, or read from the "
                             "training shards during evaluation?"
                           : "counts of the whole validation stream are gathered first and then used to score it";
      if (!train && !online && write.value.any(source::kRank)) {
        // Ranks that share a stream fill their caches with what earlier ranks score.
        finding.level = verifier::Verdict::kReview;
        finding.message += ". Which tokens these are depends on the rank: are they only those before the rank's own?";
      }
      finding.evidence = {context.timeline.evidence(write.span), context.timeline.evidence(score.span)};
      for (const Event* event : {&write, &score}) {
        for (verifier::Evidence& call : context.timeline.call_chain(*event, 3))
          finding.evidence.push_back(std::move(call));
      }
      findings.push_back(std::move(finding));
    }
  }
}

}  // namespace fairway::audit::rules

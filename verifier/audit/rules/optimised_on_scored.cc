/// R7, SLOT: a delta or bias optimised at evaluation and then used to score.
///
/// Optimised on the very positions that it then scores, it has read their targets: they are no prediction. Optimised on
/// a whole window of which a part is scored, it has read them too, among others; reviewers disagree on that form, so it
/// is a question. Legal: the optimised span ends where the scored one begins.
#include <set>
#include <string>

#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {
namespace {

using source::Event;
using source::Timeline;

/// The spans that a value was cut out of, or masked with: "[i,start:end]".
std::set<std::string> spans_of(const Timeline& timeline, const source::Value& value) {
  std::set<std::string> spans;
  for (const Event& event : timeline.events) {
    if (event.kind == source::EventKind::kSpan && event.id != source::Origins::kOverflow && value.origins.has(event.id))
      spans.insert(event.text);
  }
  return spans;
}

/// True if `before` ends where `after` begins: "[i,:s]" and "[i,s:end]".
bool adjoin(const std::string& before, const std::string& after) {
  const auto last = [](const std::string& span) { return span.substr(span.find_last_of("[,") + 1); };
  const std::string a = last(before), b = last(after);
  const size_t colon = a.find(':'), other = b.find(':');
  if (colon == a.npos || other == b.npos) return false;
  const std::string end = a.substr(colon + 1, a.find(']') - colon - 1), begin = b.substr(0, other);
  return !end.empty() && end == begin;
}

enum class Overlap { kNone, kSame, kUnknown };

Overlap overlap(const std::set<std::string>& optimised, const std::set<std::string>& scored) {
  if (optimised.empty() && scored.empty()) return Overlap::kSame;
  bool apart = !optimised.empty() && !scored.empty();
  for (const std::string& a : optimised) {
    for (const std::string& b : scored) {
      if (a == b) return Overlap::kSame;
      apart &= adjoin(a, b);
    }
  }
  return apart ? Overlap::kNone : Overlap::kUnknown;
}

}  // namespace

void optimised_on_scored(const Context& context, std::vector<Finding>& findings) {
  const Timeline& timeline = context.timeline;
  std::set<uint32_t> seen;
  for (const Update& update : updates_on_validation(timeline)) {
    if (!update.fresh) continue;
    const Event& backward = timeline.events[update.backward];
    for (size_t i : context.scores.printed()) {
      const Event& score = timeline.events[i];
      if (i < update.backward || Timeline::exclusive(score, backward) || !score.value.any(source::kFresh)) continue;
      if (!context.scores.reaches_report(score.id)) continue;
      source::Value summed = score.value;  // and what is made of the score up to the report
      for (const Event& sum : timeline.events) {
        if (sum.kind == source::EventKind::kScore && score.id != source::Origins::kOverflow &&
            sum.value.origins.has(score.id) && context.scores.reaches_report(sum.id))
          summed.absorb(sum.value);
      }
      const Overlap spans = overlap(spans_of(timeline, backward.value), spans_of(timeline, summed));
      if (spans == Overlap::kNone || !seen.insert(backward.span.line).second) continue;
      Finding finding;
      finding.id = "legality.slot";
      finding.message = "a tensor made during evaluation is optimised on ";
      if (spans == Overlap::kSame) {
        finding.level =
            backward.doubt || score.doubt || update.step < 0 ? verifier::Verdict::kReview : verifier::Verdict::kFail;
        finding.message += "the very positions that it is then used to score";
        if (finding.level == verifier::Verdict::kReview)
          finding.message += "; a setting that neither logs nor commands agree on decides whether it runs. Was it on?";
      } else {
        finding.message +=
            "validation tokens and then used to score. Are the optimised span and the scored span disjoint? There is "
            "no ruling on the form where they are not";
      }
      finding.evidence = {timeline.evidence(backward.span), timeline.evidence(score.span)};
      if (backward.loop != -1)
        finding.evidence.push_back(timeline.evidence(timeline.loops[static_cast<size_t>(backward.loop)].span));
      findings.push_back(std::move(finding));
    }
  }
}

}  // namespace fairway::audit::rules

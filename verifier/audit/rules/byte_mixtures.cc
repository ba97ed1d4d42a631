/// R5: a token's probability spread over its bytes and mixed with a byte model there. The mixture is over bytes given
/// the token split that the true token has, so it is no distribution over tokens.
#include <set>

#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {

void byte_mixtures(const Context& context, std::vector<Finding>& findings) {
  Finding finding;
  finding.id = "legality.normalized";
  finding.level = verifier::Verdict::kFail;
  finding.message =
      "the model's probability of a token is spread evenly over the token's bytes and mixed with another model byte by "
      "byte; the mixture is not a "
      "distribution over the vocabulary";
  std::set<uint32_t> seen;
  for (const source::Event& event : context.timeline.events) {
    if (event.kind != source::EventKind::kPerByteMix || !context.scores.reaches_report(event.id)) continue;
    if (seen.insert(event.span.line).second) finding.evidence.push_back(context.timeline.evidence(event.span));
    if (event.invocation != -1 && seen.size() == 1) {
      const auto& call = context.timeline.invocations[static_cast<size_t>(event.invocation)];
      finding.evidence.push_back(
          context.timeline.evidence(context.timeline.function_spans[static_cast<size_t>(call.function)]));
    }
  }
  if (!finding.evidence.empty()) findings.push_back(std::move(finding));
}

}  // namespace fairway::audit::rules

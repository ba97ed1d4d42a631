/// R4: hashed counts looked up for the true token only. count(hash(context, target)) / count(hash(context)) is no
/// distribution: collisions raise every candidate, and only the true one is ever asked.
#include <set>

#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {

void target_keyed_tables(const Context& context, std::vector<Finding>& findings) {
  Finding finding;
  finding.id = "legality.normalized";
  finding.level = verifier::Verdict::kFail;
  std::set<uint32_t> seen;
  bool doubt = true;
  for (const source::Event& event : context.timeline.events) {
    if (event.kind != source::EventKind::kTargetRead || !context.scores.reaches_report(event.id)) continue;
    doubt &= event.doubt;
    if (!seen.insert(event.span.line).second) continue;
    finding.evidence.push_back(context.timeline.evidence(event.span));
  }
  if (finding.evidence.empty()) return;
  finding.message =
      "the reported score mixes in counts read from a hashed table at a key made of the context and the token being "
      "predicted; only the true "
      "token is looked up, so the implied distribution need not sum to 1";
  if (doubt) {
    finding.level = verifier::Verdict::kReview;
    finding.message +=
        "; a setting that neither logs nor commands agree on decides whether it runs. Was it on in the reported runs?";
  }
  findings.push_back(std::move(finding));
}

}  // namespace fairway::audit::rules

#include "verifier/audit/source_audit.h"

#include <string>

#include "verifier/audit/source/syntax.h"

namespace fairway::audit {

std::vector<verifier::Check> audit_source(const Facts& facts) {
  std::vector<verifier::Check> checks;
  for (const char* id : {"legality.score_first", "legality.single_pass", "legality.normalized", "legality.causal", "legality.slot",
                         "legality.calibration"}) {
    verifier::Check check{id, verifier::Verdict::kSkip, "no rule has judged this yet", "", "", {}};
    for (const SourceFile& file : facts.sources) {
      const source::Tree tree = source::Tree::parse(file.text, file.language);
      for (uint32_t line : tree.error_lines()) check.evidence.push_back({file.name, line, 0});
    }
    checks.push_back(std::move(check));
  }
  return checks;
}

}  // namespace fairway::audit

#include "verifier/audit/audit.h"

#include "verifier/audit/check/checks.h"
#include "verifier/audit/source_audit.h"

namespace fairway::audit {

verifier::Report audit(const RecordFolder& folder, const AuditOptions& options) {
  Facts facts = read_facts(folder);
  verifier::Report report;
  report.subject_path = facts.folder;
  report.subject_ref = facts.ref;
  report.subject_sha256 = facts.sha256;
  check_structure(facts, report);
  const ClaimMatch match = match_claim(facts);
  facts.reported_tag = match.tag;
  check_artifact_bytes(facts, match, report);
  check_time(facts, match, report);
  check_score_claim(facts, match, report);
  check_byte_accounting(facts, match, report);
  check_data_split(facts, match, report);
  check_evidence(facts, match, report);
  check_significance(facts, match, options.baseline, report);
  if (options.legality) {
    for (verifier::Check& c : audit_source(facts)) report.add(std::move(c));
  }
  return report;
}

}  // namespace fairway::audit

#include "verifier/audit/audit.h"

#include <algorithm>

#include "verifier/audit/check/checks.h"
#include "verifier/audit/source_audit.h"

namespace fairway::audit {
namespace {

int gravity(verifier::Verdict verdict) {
  switch (verdict) {
    case verifier::Verdict::kFail:
      return 3;
    case verifier::Verdict::kReview:
      return 2;
    case verifier::Verdict::kPass:
      return 1;
    default:
      return 0;
  }
}

/// One question has one answer: the graver of what the facts and what the sources say.
void add_or_merge(verifier::Check check, verifier::Report& report) {
  const auto same = std::find_if(report.checks.begin(), report.checks.end(),
                                 [&](const verifier::Check& c) { return c.id == check.id; });
  if (same == report.checks.end()) {
    report.add(std::move(check));
  } else if (gravity(check.status) > gravity(same->status)) {
    *same = std::move(check);
  } else if (check.status == same->status) {
    same->message += "; " + check.message;
    same->evidence.insert(same->evidence.end(), check.evidence.begin(), check.evidence.end());
  }
}

}  // namespace

verifier::Report audit(const RecordFolder& folder, const AuditOptions& options) {
  Facts facts = read_facts(folder);
  if (options.tokenizer) facts.tokenizers.insert(facts.tokenizers.begin(), *options.tokenizer);
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
    for (verifier::Check& c : audit_source(facts)) add_or_merge(std::move(c), report);
  }
  return report;
}

}  // namespace fairway::audit

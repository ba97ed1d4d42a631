/// The checks that read facts alone: one function and one file per subject. Each adds one check for every id it names,
/// also where it could not judge (`skip`, with the reason).
///
/// `fail` only for what the folder itself shows, with the lines; `review` states the question a person must answer.
#pragma once

#include "verifier/audit/check/claim.h"
#include "verifier/audit/facts.h"
#include "verifier/report/report.h"
#include "verifier/stats/t_test.h"

namespace fairway::audit {

void check_artifact_bytes(const Facts& facts, const ClaimMatch& match, verifier::Report& report);  ///< artifact.bytes
void check_time(const Facts& facts, const ClaimMatch& match, verifier::Report& report);  ///< time.train, time.eval
void check_byte_accounting(const Facts& facts, const ClaimMatch& match,
                           verifier::Report& report);  ///< score.byte_accounting
void check_data_split(const Facts& facts, const ClaimMatch& match, verifier::Report& report);  ///< data.split
void check_evidence(const Facts& facts, const ClaimMatch& match,
                    verifier::Report& report);                       ///< evidence.seeds, .logs, .claims
void check_structure(const Facts& facts, verifier::Report& report);  ///< structure.files, structure.json
void check_score_claim(const Facts& facts, const ClaimMatch& match, verifier::Report& report);  ///< score.claim
/// stats.significance: fails never, as exemptions are a person's to judge; without a baseline it is skipped.
void check_significance(const Facts& facts, const ClaimMatch& match, const std::optional<stats::Sample>& baseline, verifier::Report& report);

}  // namespace fairway::audit

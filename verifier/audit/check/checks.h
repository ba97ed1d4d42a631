/// The checks that read facts alone: one function and one file per subject. Each adds one check for every id it names, also where it
/// could not judge (`skip`, with the reason).
///
/// `fail` only for what the folder itself shows, with the lines; `review` states the question a person must answer.
#pragma once

#include "verifier/audit/check/claim.h"
#include "verifier/audit/facts.h"
#include "verifier/report/report.h"

namespace fairway::audit {

void check_structure(const Facts& facts, verifier::Report& report);                              ///< structure.files, structure.json
void check_score_claim(const Facts& facts, const ClaimMatch& match, verifier::Report& report);   ///< score.claim

}  // namespace fairway::audit

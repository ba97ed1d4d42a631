/// Judges a record folder of the challenge without running anything of it: readers, then checks, then legality rules.
#pragma once

#include "verifier/audit/facts.h"
#include "verifier/audit/record_folder.h"
#include "verifier/report/report.h"
#include "verifier/stats/t_test.h"

namespace fairway::audit {

/// Reads every file the checks need. Bounds that were crossed and files that could not be read are in Facts::problems.
Facts read_facts(const RecordFolder& folder);

struct AuditOptions {
  std::optional<stats::Sample> baseline;  ///< what the score is to improve on, in bpb
  std::optional<TokenizerModel> tokenizer;  ///< what byte tables are compared with, besides the folder's own models
  bool legality = true;  ///< false: sources are not judged; most of the time of an audit goes there
};

/// The report of a folder, one check per id of verifier/RULES.md. A file that cannot be read never ends the audit.
verifier::Report audit(const RecordFolder& folder, const AuditOptions& options = {});

}  // namespace fairway::audit

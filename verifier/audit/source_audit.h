/// The legality rules: what the sources of a record folder do with validation tokens, read from their syntax trees.
#pragma once

#include <vector>

#include "verifier/audit/facts.h"
#include "verifier/report/report.h"

namespace fairway::audit {

/// One check per id of legality.*, each with evidence: file, line and end line as printed by SourceFile::name.
///
/// Reads `facts.sources`, the logged hyper-parameters and markers of `facts.runs`, and `facts.reported_tag`. Runs
/// nothing of the folder. Never fails for want of input: what could not be judged is `skip` (no source) or `review`
/// (source that does not parse).
std::vector<verifier::Check> audit_source(const Facts& facts);

}  // namespace fairway::audit

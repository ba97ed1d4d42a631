/// What the ledger records of a verification.
#pragma once

#include <span>
#include <string>

#include "engine/replay/record.h"
#include "ledger/statement.h"
#include "verifier/report/report.h"

namespace fairway::verifier {

/// The statement about `report` at `level` (audit, eval, spot or full), with one run for each replay record.
///
/// Subjects are the container and the artifact of each record; without records the subject of the report. Messages are
/// made visible and cut to kLoggedMessageBytes: an entry is small, and the whole report is named by `report_sha256`, the
/// digest of the file in which it is kept. kData if the report has no check, or neither it nor a record names a digest.
Result<ledger::Statement> log_statement(const Report& report, const std::string& level,
                                        std::span<const replay::Record> records, const Digest& report_sha256);
inline constexpr size_t kLoggedMessageBytes = 200;

/// What a run was scored on.
ledger::Statement::ScoredText scored_text(const replay::Identity& identity);

/// The records in RUNS/seed_<n>/, in the order of their seeds. kNoInput if there is none.
Result<std::vector<replay::Record>> read_records(const std::string& runs);

}  // namespace fairway::verifier

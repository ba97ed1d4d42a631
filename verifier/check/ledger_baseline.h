/// The scores that a submission must beat, taken from a log: those of an earlier entry.
///
/// An entry can be a baseline if the statements' key has signed it, its verdict is pass and it holds runs of different
/// seeds of one config, scored on one text. "The best" is the one with the lowest mean val_bpb, the earlier of equals,
/// among entries of other configs that were scored on the same validation shards with the same tokenizer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "ledger/policy.h"
#include "ledger/statement.h"
#include "verifier/stats/t_test.h"

namespace fairway::verifier {

struct BaselineQuery {
  std::optional<uint64_t> index;         ///< this entry, whatever it was scored on
  std::string submission;                ///< else the last entry of this name, likewise; empty: the best
  Digest config_sha256{};                ///< the best: not of this config
  ledger::Statement::ScoredText scored;  ///< the best: of this text; only the shards and the tokenizer count
  uint64_t end = UINT64_MAX;             ///< entries from here on are not looked at
};

struct LedgerBaseline {
  uint64_t index = 0;
  ledger::Statement statement;
  stats::Sample sample;  ///< val_bpb of each run
};

/// Whether scores of the two can be compared without a second thought.
bool same_text(const ledger::Statement::ScoredText& a, const ledger::Statement::ScoredText& b);

/// Reads the whole log and derives it again, as fsck does; nothing if no entry is the best.
///
/// Errors: kNoInput if there is no log, or no entry of the index or name asked for; kData if the log is not sound, or
/// if that entry cannot be a baseline, with the reason.
Result<std::optional<LedgerBaseline>> ledger_baseline(const std::string& directory, const ledger::Policy& policy,
                                                      const ledger::PublicKey& statement_key,
                                                      const BaselineQuery& query);

}  // namespace fairway::verifier

/// What `fairway verify` compares the seeds with: scores given, or those of an earlier entry of a log.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "engine/replay/record.h"
#include "verifier/cli/command.h"
#include "verifier/cli/ledger.h"
#include "verifier/cli/sample_input.h"
#include "verifier/stats/significance.h"

namespace fairway::cli {

/// --baseline, --baseline-log, --baseline-entry, and --vkey, --policy, --statement-vkey for the log.
void add_baseline(Parser& parser);

/// What was asked for, read as far as no log is needed.
struct BaselineRequest {
  std::optional<SampleInput> given;  ///< --baseline
  std::string log;                   ///< folder; empty: none
  bool own_log = false;              ///< it is the one of --ledger
  std::string entry;                 ///< "best", "none", an index or a name
  uint64_t log_size = 0;             ///< entries it has now

  /// Everything of it that decides the baseline, in words.
  std::string description() const;
};
/// kUsage for options that exclude each other, and the errors of read_sample and of a log without a checkpoint.
Result<BaselineRequest> baseline_request(const boost::program_options::variables_map& v);

struct Baseline {
  std::optional<stats::NamedSample> scores;  ///< nothing: `missing` says why
  std::string missing;
  bool same_text = true;  ///< false: it was scored on something else than the candidate, as far as is known
};
/// Entries of the log from `end` on are left out. `recording` has the keys of --ledger. Errors as of ledger_baseline.
Result<Baseline> choose_baseline(const boost::program_options::variables_map& v, const BaselineRequest& request,
                                 const std::optional<Recording>& recording, const Digest& config_sha256,
                                 const ledger::Statement::ScoredText& scored, uint64_t end);

/// stats.significance of replayed seeds; skip without a baseline. Its message holds every seed's score, mean and sd.
verifier::Check compare_seeds(const Baseline& baseline, std::span<const replay::Record> records);

/// "3 seeds: val_loss mean 2.945 sd 0.001, val_bpb mean …"
std::string seeds_line(std::span<const replay::Record> records);

}  // namespace fairway::cli

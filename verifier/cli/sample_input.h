/// Scores over seeds as the command line gives them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "ledger/statement.h"
#include "verifier/stats/comparison.h"

namespace fairway::cli {

struct SampleInput {
  stats::Sample sample;
  std::string name;                   ///< the folder or files; empty for numbers
  std::optional<stats::Scale> scale;  ///< of records that count their own bytes and tokens
  std::optional<ledger::Statement::ScoredText> scored;  ///< of replay records
};

/// One sample from words that are all of one kind:
///   1.1194 1.1200 1.1189     scores in bpb; one alone is a constant
///   1.11938:0.00058:3        a published mean, sample sd and count
///   FOLDER or replay.json    a record folder with submission.json, or runs of `fairway train`: a replay.json, or
///   folders seed_<N> of them
/// `role` ("candidate", "--baseline") names the sample in errors: kData for what cannot be read as one, kNoInput for a
/// missing path.
Result<SampleInput> read_sample(const std::vector<std::string>& words, const std::string& role);

}  // namespace fairway::cli

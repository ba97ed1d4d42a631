/// [eval] and its tables in fairway.toml.
#pragma once

#include "engine/eval/config.h"
#include "engine/submission/toml_reader.h"

namespace fairway::submission {

/// Reads the table into `e`; `train_seq_len` is the default of eval.seq_len. The status holds what its inner tables have wrong; errors of
/// the table itself stay with the reader.
Status read_eval(TableReader& t, int64_t train_seq_len, eval::EvalConfig& e);

}  // namespace fairway::submission

/// The replay record: replay.json beside an artifact (NUMERICS.md and submissions/README.md name every field).
///
/// `identity` is compared and hashed: canonical JSON (RFC 8785) without floats; binary64 values are hexadecimal strings.
/// `informative` is everything else; nothing in it enters a hash that is compared.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/base/sha256.h"
#include "engine/eval/evaluator.h"
#include "engine/train/state.h"
#include "engine/train/trainer.h"

namespace fairway::replay {

struct Identity {
  std::string name;
  Digest config_sha256{};
  std::vector<Digest> train_sha256, val_sha256;
  Digest tokenizer_sha256{};
  uint64_t seed = 0;
  int64_t steps = 0;
  Digest multipliers_sha256{};  ///< of the binary64 little-endian multipliers of all steps (N9)
  std::vector<train::Commitment> commitments;
  Digest container_sha256{};
  std::string eval_method;
  int64_t eval_seq_len = 0, eval_stride = 0;
  uint64_t eval_tokens = 0, eval_bytes = 0;
  Digest scores_sha256{};
  double val_loss = 0.0, val_bpb = 0.0;
};

/// What is good to know: all strings, in the order of their keys.
using Informative = std::map<std::string, std::string>;

struct Record {
  Identity identity;
  Informative informative;
};

/// The canonical text of the identity and its SHA-256.
std::string identity_text(const Identity& identity);
Digest identity_digest(const Identity& identity);

/// Names of the identity's fields that differ, with both values: "commitments[3].root: a… != b…".
std::vector<std::string> differences(const Identity& expected, const Identity& found);

/// A binary64 as "0x1.8p+0".
std::string hex_float(double x);

/// replay.json, and the multipliers in schedule.f64 beside it.
Status write_record(const std::string& directory, const Record& record, const std::vector<double>& multipliers);

struct LoadedRecord {
  Record record;
  std::vector<double> multipliers;
};
/// Errors: kNoInput without replay.json; kData for a malformed record or multipliers that do not match their hash.
Result<LoadedRecord> read_record(const std::string& directory);

}  // namespace fairway::replay

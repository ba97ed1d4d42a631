/// Scores a stream of tokens with a model: the loop over windows, the totals, the score stream.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "engine/base/result.h"
#include "engine/base/sha256.h"
#include "engine/comm/communicator.h"
#include "engine/data/byte_accounting.h"
#include "engine/eval/windows.h"
#include "engine/model/gpt.h"

namespace fairway::eval {

/// What an evaluation found. Totals are integers; loss and bits per byte are binary64 divisions of them:
///   val_loss = fl(fl(loss_units * 2^-26) / tokens);  val_bpb = fl(fl(loss_units * 2^-26) / fl(ln 2 * bytes))
struct Scores {
  int64_t loss_units = 0;  ///< sum of round(nll * 2^26)
  uint64_t tokens = 0;
  uint64_t bytes = 0;
  Digest stream_sha256{};  ///< of the nll values, binary32 little-endian, in scoring order
  double val_loss = 0.0;
  double val_bpb = 0.0;
};

/// Receives the nll values in scoring order, on rank 0 only.
using ScoreSink = std::function<Status(std::span<const float>)>;

struct EvalRun {
  EvalConfig config;
  std::span<const uint16_t> tokens;        ///< P + 1 tokens
  const data::ByteAccounting* accounting;  ///< null: bytes stay 0 and val_bpb is 0
  comm::Communicator* communicator;
  ScoreSink sink;              ///< may be empty
  std::string progress_label;  ///< empty: no progress line
};

/// Evaluates; every rank returns the same scores. Errors: those of WindowPlan, a value the model cannot compute with, the sink's.
Result<Scores> evaluate(model::Gpt& model, const EvalRun& run);

}  // namespace fairway::eval

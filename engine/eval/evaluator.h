/// Scores a stream of tokens with a model: procedure and harness put together.
#pragma once

#include <span>
#include <string>

#include "engine/base/result.h"
#include "engine/base/sha256.h"
#include "engine/comm/communicator.h"
#include "engine/data/byte_accounting.h"
#include "engine/eval/harness.h"
#include "engine/eval/procedure.h"
#include "engine/model/gpt.h"

namespace fairway::eval {

/// What names the run in the header of its trace.
struct TraceSetup {
  TraceSink sink;  ///< empty: no trace
  Digest config_sha256{}, container_sha256{};
};

struct EvalRun {
  EvalConfig config;
  std::span<const uint16_t> tokens;        ///< P + 1 tokens
  const data::ByteAccounting* accounting;  ///< null: bytes stay 0 and val_bpb is 0
  comm::Communicator* communicator;
  ScoreSink sink;              ///< may be empty
  std::string progress_label;  ///< empty: no progress line
  TraceSetup trace = {};       ///< the sink is called on rank 0 only
};

/// Evaluates; every rank returns the same scores. A procedure that trains leaves the model trained, where its executor computes. Errors: those of WindowPlan, a value
/// the model cannot compute with, a sink's.
Result<Scores> evaluate(model::Gpt& model, const EvalRun& run);

/// Error kUnavailable, naming the key, for an evaluation that has no form for the executor's device.
Status check_executor(const EvalConfig& config, kernels::Executor& executor);

/// The parts of a header that config and model decide, and the state a procedure starts from.
TraceHeader trace_header(const EvalConfig& config, const model::Gpt& model);
Digest initial_state(Procedure& procedure, model::Gpt& model);

}  // namespace fairway::eval

#include "engine/eval/evaluator.h"

#include "engine/eval/procedure.h"

namespace fairway::eval {

Status check_executor(const EvalConfig& config, kernels::Executor& executor) {
  if (executor.memory() == nullptr || config.procedure != ProcedureKind::kDishonest) return {};
  return Error{Errc::kUnavailable, "eval.procedure", "dishonest procedures are there to be found out, on --device cpu alone"};
}

Result<Scores> evaluate(model::Gpt& model, const EvalRun& run) {
  FAIRWAY_TRY(check_executor(run.config, model.tape().executor()));
  const int64_t predictions = static_cast<int64_t>(run.tokens.size()) - 1;
  Harness::Setup setup{run.tokens, run.accounting, run.communicator, run.sink, {}, run.progress_label, predictions, run.config.by_document()};
  setup.seq_len = run.config.seq_len;
  Harness harness(std::move(setup));
  FAIRWAY_ASSIGN(auto procedure, make_procedure(run.config, model, predictions, harness.document_starts()));
  if (run.trace.sink) {
    TraceHeader header = trace_header(run.config, model);
    header.config_sha256 = run.trace.config_sha256;
    header.container_sha256 = run.trace.container_sha256;
    // Only rank 0 writes, but every rank must draw the same witnesses.
    TraceSink sink = run.communicator->is_root() ? run.trace.sink : [](std::span<const std::byte>) { return Status(); };
    harness.begin_trace(header, std::move(sink), initial_state(*procedure, model));
  }
  for (;;) {
    FAIRWAY_ASSIGN(const bool worked, procedure->step(harness));
    if (!worked) return harness.finish();
  }
}

TraceHeader trace_header(const EvalConfig& config, const model::Gpt& model) {
  TraceHeader header;
  header.vocab = model.config().vocab_size;
  header.window = config.seq_len;
  header.independent = config.independent_documents();
  header.document_order = config.queue_order();
  return header;
}

Digest initial_state(Procedure& procedure, model::Gpt& model) {
  return procedure.learns() ? procedure.state_digest() : weights_digest(model);
}

}  // namespace fairway::eval

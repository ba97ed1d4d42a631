/// The procedures, one file each; procedure.cc picks.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "engine/eval/procedure.h"

namespace fairway::eval {

/// Windows of a plan taken as groups of one shape, at most `batch_tokens` tokens each, all starts moved by `offset`.
WindowGroup take_group(const WindowPlan& plan, int64_t first, int64_t end, int64_t batch_tokens, int64_t offset = 0);

Result<std::unique_ptr<Procedure>> make_windows(const EvalConfig& config, model::Gpt& model, int64_t predictions);
Result<std::unique_ptr<Procedure>> make_documents(const EvalConfig& config, model::Gpt& model, int64_t predictions,
                                                  const std::vector<int64_t>& document_starts);
Result<std::unique_ptr<Procedure>> make_score_first(const EvalConfig& config, model::Gpt& model, int64_t predictions);
Result<std::unique_ptr<Procedure>> make_lora(const EvalConfig& config, model::Gpt& model, int64_t predictions,
                                             const std::vector<int64_t>& document_starts);
Result<std::unique_ptr<Procedure>> make_neural_cache(const EvalConfig& config, model::Gpt& model, int64_t predictions);
Result<std::unique_ptr<Procedure>> make_ngram(const EvalConfig& config, model::Gpt& model, int64_t predictions);
Result<std::unique_ptr<Procedure>> make_dishonest(const EvalConfig& config, model::Gpt& model, int64_t predictions,
                                                  const std::vector<int64_t>& document_starts);

}  // namespace fairway::eval

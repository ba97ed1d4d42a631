/// Do documents that are to be independent keep their scores in other company?
#pragma once

#include "verifier/probe/causality.h"
#include "verifier/probe/probe_run.h"

namespace fairway::verifier {

/// Adds probe.document_order: a few documents alone and in another order must get the bits that `whole` gave them.
/// `whole` is at its start, and the model with it, before and afterwards.
Status probe_document_order(model::Gpt& model, const eval::EvalConfig& config, ProbedRun& whole,
                            const ProbeOptions& options, Report& report);

}  // namespace fairway::verifier

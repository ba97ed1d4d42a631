/// Causality probes of an evaluation of ours: change tokens, run again, compare bits (verifier/RULES.md, probe.*).
///
/// A probe trusts nothing that the evaluation says of itself. Work is shared: a changed stream is taken up before the first step that
/// was given a changed token, so a probe of an honest evaluation costs the windows around its cut; one of the cuts is run from the
/// very start all the same.
#pragma once

#include <cstdint>
#include <span>

#include "engine/eval/config.h"
#include "engine/model/gpt.h"
#include "verifier/report/report.h"

namespace fairway::verifier {

struct ProbeOptions {
  int64_t cuts = 8;             ///< places where the stream is changed, and targets that are swapped
  uint64_t seed = 0;            ///< draws cuts, replacement tokens and targets; printed
  int64_t swaps_per_target = 16;  ///< other tokens tried at a target; every token if the vocabulary has at most 256, or if one of them mattered
};

/// Adds probe.suffix, probe.shift, probe.target_swap and, where documents are to be independent, probe.document_order. The model's weights
/// are as before afterwards. Errors: those of the evaluation itself.
Status probe_causality(model::Gpt& model, const eval::EvalConfig& config, std::span<const uint16_t> tokens, const ProbeOptions& options,
                       Report& report);

}  // namespace fairway::verifier

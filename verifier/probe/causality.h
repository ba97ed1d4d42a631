/// Causality probes of an evaluation of ours: change tokens, run again, compare bits (verifier/RULES.md, probe.*).
///
/// A probe trusts nothing that the evaluation says of itself. Work is shared: a changed stream is taken up before the
/// first step that was given a changed token, so a probe of an honest evaluation costs the windows around its cut; one
/// of the cuts is run from the very start all the same.
#pragma once

#include <cstdint>
#include <span>

#include "engine/eval/config.h"
#include "engine/model/gpt.h"
#include "verifier/report/report.h"

namespace fairway::verifier {

struct ProbeOptions {
  int64_t cuts = 8;   ///< places where the stream is changed, and targets that are swapped
  uint64_t seed = 0;  ///< draws cuts, replacement tokens and targets; printed
  /// Other tokens tried at a target that the evaluation had been given before its score; 0: every token of the
  /// vocabulary. Every token is tried as well if the vocabulary has at most 256, or if one of those tried mattered and
  /// it costs no more than a few evaluations. Each costs the steps from the one that was given the target to the one
  /// that scored it. A dependence on a share q of the vocabulary stays unseen with a probability of (1 - q)^(swaps x
  /// targets).
  int64_t swaps_per_target = 16;
};

/// Adds probe.suffix, probe.shift, probe.target_swap and, where documents are to be independent, probe.document_order.
/// The model's weights are as before afterwards. Errors: those of the evaluation itself.
Status probe_causality(model::Gpt& model, const eval::EvalConfig& config, std::span<const uint16_t> tokens,
                       const ProbeOptions& options, Report& report);

}  // namespace fairway::verifier

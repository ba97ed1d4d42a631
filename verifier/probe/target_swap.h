/// Does a distribution depend on the token that it is about, and does it sum to 1?
#pragma once

#include <map>

#include "verifier/probe/causality.h"
#include "verifier/probe/probe_run.h"

namespace fairway::verifier {

/// Sum of the probabilities that a row of logits gives to every token, as their nll are computed: near 1 whatever the
/// logits are.
double sum_of_probabilities(std::span<const float> logits);

/// Targets of a run whose tokens are replaced one at a time.
struct SwapSubject {
  ProbedRun& run;
  const eval::EvalConfig& config;
  uint32_t vocab = 0;
  std::span<const int64_t> targets;
  size_t first_variant = 0;                        ///< variant first_variant + i of the run changes targets[i] alone
  const std::map<int64_t, int64_t>& last_step_of;  ///< the step that scored a target last
};

struct SwapFinding {
  double sum = 1.0;       ///< the farthest from 1
  int64_t target = 0;     ///< where
  std::string dependent;  ///< empty, or which distribution depends on the token that stands there
};

/// Puts other tokens in the place of each target. Stops at the first that depends on its token and is too dear to sum
/// up.
Result<SwapFinding> swap_targets(const SwapSubject& subject, const ProbeOptions& options);

}  // namespace fairway::verifier

/// How much memory training a submission takes on a device, counted by one step that asks for all of it and computes
/// nothing.
#pragma once

#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/submission/submission.h"
#include "kernels/executor.h"

namespace fairway::train {

struct MemoryPlan {
  /// What is asked for from one point of the first step to the next; nothing is given back before the end, and later
  /// steps ask for nothing.
  struct Part {
    std::string what;
    size_t bytes = 0;
  };
  std::vector<Part> parts;
  size_t total_bytes = 0;
  size_t peak_bytes = 0;  ///< a buffer that grows may for a moment exist beside others that shrink

  /// "parameters 0.2 GB, ..." in GB of 10^9 bytes.
  std::string summary() const;
};

/// The plan of steps whose passes take `tokens_at_once` tokens, a multiple of train.seq_len; grad_chunk_tokens is what
/// training takes. Error kUnavailable, naming it, for what has no form for a device.
Result<MemoryPlan> plan_memory(const submission::Submission& s, int64_t tokens_at_once);

/// Error kUnavailable if the executor's memory cannot hold the plan: how much was wanted, for what, and how much is
/// free.
Status check_memory(const submission::Submission& s, kernels::Executor& executor);

}  // namespace fairway::train

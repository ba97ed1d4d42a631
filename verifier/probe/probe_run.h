/// Running an evaluation procedure over streams that differ from the original, sharing all work before the first
/// difference.
#pragma once

#include <memory>
#include <vector>

#include "engine/eval/evaluator.h"
#include "engine/eval/procedure.h"

namespace fairway::verifier {

/// A score as a run gave it.
struct ScoredTarget {
  int64_t target = 0;
  float nll = 0.0f;
};

/// Scores of steps first .. last of a run, in order; those thrown away by a restart are not among them.
using ScoreList = std::vector<ScoredTarget>;

/// One evaluation, kept so that it can be gone through again from any step that somebody asked for beforehand.
class ProbedRun {
 public:
  /// `model` is left as the procedure leaves it; the caller owns its weights.
  ProbedRun(model::Gpt& model, const eval::EvalConfig& config, std::span<const uint16_t> tokens)
      : model_(model), config_(config), tokens_(tokens) {}

  /// Where a changed stream is taken up: before the first step that was given a changed token.
  struct Resume {
    int64_t step = 0;
    std::shared_ptr<const std::vector<std::byte>> state, position;
    bool reached = false;  ///< false: no step was given a changed token
  };
  struct Step {
    std::vector<eval::TokenRange> given;
    int64_t first_event = 0;  ///< events of the trace before this step
    bool restarted = false;
    ScoreList scores;
  };

  /// Runs the procedure over the original stream. changed[i][t] says that variant i will change token t; `targets` may
  /// be asked for by at_score. `rows` sees every distribution.
  Status run(const std::vector<std::vector<bool>>& changed, const std::vector<int64_t>& targets,
             const eval::RowSink& rows = {});

  /// Goes through the steps from `from` until the original run's step `last` with other tokens; returns the scores.
  /// `rows` sees distributions.
  Result<ScoreList> again(const Resume& from, std::span<const uint16_t> tokens, int64_t last,
                          const eval::RowSink& rows = {});
  /// The original scores of the steps from..last.
  ScoreList original(int64_t from, int64_t last) const;

  const Resume& resume(size_t variant) const { return resumes_[variant]; }
  /// Before the step in which the i-th of `targets` was scored last; not reached if it never was.
  const Resume& at_score(size_t target) const { return at_score_[target]; }
  const Resume& start() const { return start_; }
  const std::vector<Step>& steps() const { return steps_; }
  const eval::Trace& trace() const { return trace_; }
  std::span<const uint16_t> tokens() const { return tokens_; }
  /// Puts the procedure back to its first step, weights included.
  void rewind();

 private:
  eval::Harness harness_over(std::span<const uint16_t> tokens, eval::TargetSink sink, const eval::RowSink& rows);

  model::Gpt& model_;
  eval::EvalConfig config_;
  std::span<const uint16_t> tokens_;
  std::unique_ptr<comm::Communicator> alone_ = comm::single_process();
  std::unique_ptr<eval::Procedure> procedure_;
  std::vector<Step> steps_;
  std::vector<Resume> resumes_, at_score_;
  Resume start_;
  eval::Trace trace_;
};

}  // namespace fairway::verifier

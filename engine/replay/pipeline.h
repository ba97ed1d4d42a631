/// The main job for one seed: train, pack, write, read back, score, record. And its second half alone.
#pragma once

#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/replay/artifact.h"
#include "engine/replay/record.h"

namespace fairway::replay {

struct RunOptions {
  uint64_t seed = 0;
  /// Receives train.log, model.*, scores.f32, trace.bin, schedule.f64, replay.json and state/.
  std::string out_dir;
  /// Continue from a checkpoint of the same run; a run that was completed is not repeated, its record is returned.
  /// False: whatever an earlier run left is removed first.
  bool resume = true;
  bool echo = true;  ///< log lines to standard output as well
  bool show_progress = true;
  const std::vector<double>* replay_multipliers = nullptr;
  kernels::Executor* executor = &kernels::cpu_executor();  ///< trains and scores; it must outlive the call
  std::string device = "cpu";                              ///< what the log calls it
};

/// Error kUnavailable, naming it, for what training, quantising or scoring the submission needs and the executor's device does not have.
Status check_executor(const submission::Submission& s, kernels::Executor& executor);

/// Everything of one seed. Collective. Files appear complete or not at all, replay.json last.
Result<Record> run_seed(const submission::Submission& s, const train::DataFiles& files, const train::Validation& validation,
                        const RunOptions& options, comm::Communicator& communicator);

/// Where the files of a scoring go; an empty path: nowhere.
struct ScoreFiles {
  std::string scores;             ///< the nll stream
  std::string trace;              ///< engine/eval/TRACE.md
  Digest container_sha256{};      ///< of the artifact that is scored, for the trace
};

/// Scores a model that is in place; a procedure that trains leaves it trained.
Result<eval::Scores> score(model::Gpt& model, const submission::Submission& s, const train::Validation& validation, const ScoreFiles& files,
                           bool show_progress, comm::Communicator& communicator);

/// The tokens that the submission's evaluation scores.
std::span<const uint16_t> scored_tokens(const submission::Submission& s, const train::Validation& validation);

/// The result lines of the upstream logs: "final_int8_zlib_roundtrip val_loss:... val_bpb:... eval_time:...ms" and "_exact".
std::vector<std::string> result_lines(const submission::Submission& s, const eval::Scores& scores, int64_t eval_ms);

}  // namespace fairway::replay

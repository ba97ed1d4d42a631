/// Training a submission for one seed: the loop over steps, chunks and ranks; the log; checkpoints; commitments.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/result.h"
#include "engine/comm/communicator.h"
#include "engine/data/token_stream.h"
#include "engine/data/validation.h"
#include "engine/eval/evaluator.h"
#include "engine/submission/submission.h"
#include "engine/train/state.h"

namespace fairway::train {

/// The data of a submission, opened and hashed.
struct DataFiles {
  std::vector<std::string> train_paths, val_paths;
  std::vector<Digest> train_sha256, val_sha256;
  Digest tokenizer_sha256{};
};

/// Lists and hashes shards and tokenizer. `with_training`: training shards too.
Result<DataFiles> open_data(const submission::Submission& s, bool with_training);

/// Loads tokenizer tables and validation tokens. Errors: a tokenizer whose size differs from model.vocab_size.
struct Validation {
  data::ValidationSet set;
  data::ByteAccounting accounting;
};
Result<Validation> open_validation(const submission::Submission& s, const DataFiles& files);

struct TrainOptions {
  uint64_t seed = 0;
  /// Folder for checkpoints and kept states; created if needed. Empty: none are written or read.
  std::string state_dir;
  bool resume = true;  ///< continue from the checkpoint in state_dir, if there is one
  /// Multipliers of a recorded run (N9): used instead of schedule and clock, and the run ends with them.
  const std::vector<double>* replay_multipliers = nullptr;
  /// Start from this state file and stop after `stop_step` steps: the segment of a spot check.
  std::string start_state;
  /// Commitment that the state in `start_state` must have. Without it, whoever wrote the file chooses the state.
  std::optional<Digest> start_root;
  std::optional<int64_t> stop_step;
  bool show_progress = true;
  /// Who computes; it must outlive the call. The trained model is the CPU's again.
  kernels::Executor* executor = &kernels::cpu_executor();
};

/// Where the checkpoint of a run lies in its state folder.
std::string checkpoint_path(const std::string& state_dir);

/// A model after training.
struct Trained {
  std::unique_ptr<model::Gpt> model;
  Progress progress;
  double last_train_loss = 0.0;  ///< nats per token of the last step, 0 if none was run
};

/// Trains. Collective over the communicator; `log` is written by rank 0. Errors: bad data or values (step and tensor are
/// named; the last checkpoint stays), kInterrupted after SIGINT (the state was saved), I/O.
Result<Trained> train(const submission::Submission& s, const DataFiles& files, const Validation* validation,
                      const TrainOptions& options, comm::Communicator& communicator, RunLog* log);

}  // namespace fairway::train

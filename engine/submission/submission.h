/// A replayable submission: the folder with a fairway.toml, read and checked. submissions/README.md lists every key.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/base/sha256.h"
#include "engine/eval/windows.h"
#include "engine/model/config.h"
#include "engine/optim/optimizer.h"
#include "engine/optim/schedule.h"
#include "engine/quant/codec.h"
#include "engine/quant/export_rules.h"

namespace fairway::submission {

struct DataConfig {
  std::string path;       ///< folder with the shards; absolute after loading
  std::string prefix;     ///< shards are <prefix>_train_*.bin and <prefix>_val_*.bin
  std::string tokenizer;  ///< SentencePiece model; absolute after loading
};

struct TrainConfig {
  int64_t seq_len = 1024;
  int64_t batch_tokens = 524288;
  int64_t grad_chunk_tokens = 8192;
  int64_t virtual_workers = 8;
  int64_t log_every = 200;
  int64_t val_every = 0;  ///< 0: no validation during training
  double qat_below = 2.0;  ///< fake quantisation begins with the first step whose multiplier is below this; a multiplier is at most 1
  int64_t qat_from = 0;    ///< and before which so many steps were completed
  std::vector<uint64_t> seeds;
};

/// Where the second moments of full GPTQ come from.
enum class Calibration {
  kNone,
  kTrain,          ///< the first sequences of the training stream
  kSelfGenerated,  ///< sequences the trained model draws itself, temperature 0.8
};

struct CalibrationConfig {
  Calibration source = Calibration::kNone;
  int64_t sequences = 64;
  int64_t tokens = 2048;  ///< of one sequence
  uint64_t seed = 42;     ///< of the draws
};

struct ReplayConfig {
  int64_t commit_every = 0;      ///< steps between commitments of the state; 0: only the last step
  int64_t checkpoint_every = 0;  ///< steps between checkpoints; 0: none
  bool keep_states = false;      ///< keep the committed states, so that --level spot can start from them
};

struct Submission {
  std::string directory;
  std::string config_text;  ///< the bytes of fairway.toml: what counts as code
  Digest config_sha256{};
  std::string name;
  model::ModelConfig model;
  DataConfig data;
  TrainConfig train;
  optim::OptimizerConfig optimizer;
  optim::ScheduleConfig schedule;
  quant::ExportScheme scheme;
  CalibrationConfig calibration;
  quant::CodecSetting codec;
  eval::EvalConfig eval;
  ReplayConfig replay;

  /// Whether fake quantisation begins with step `step` (0-based) of this multiplier, if it has not begun before.
  bool begins_qat(int64_t step, double multiplier) const { return step >= train.qat_from && multiplier < train.qat_below; }
  /// Chunks of one optimizer step.
  int64_t chunks_per_step() const { return train.batch_tokens / train.grad_chunk_tokens; }
};

/// What the command line may put in place of paths in the file; empty means "as in the file".
struct DataOverride {
  std::string data;
  std::string tokenizer;
};

/// Reads DIR/fairway.toml. Errors: kNoInput without it; kData naming file, line and key for anything unknown, missing, out of
/// range, or sizes that do not divide.
Result<Submission> load_submission(const std::string& directory, const DataOverride& paths = {});

}  // namespace fairway::submission

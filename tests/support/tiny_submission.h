/// A submission small enough to train in milliseconds: folder, shards of random tokens, fairway.toml.
#pragma once

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "engine/data/shard.h"
#include "engine/submission/submission.h"
#include "engine/train/trainer.h"
#include "tests/engine/base/temporary_directory.h"

namespace fairway::test {

inline void write_random_shards(const std::string& directory, const std::string& stem, int64_t count, int64_t vocab, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<uint16_t> tokens(static_cast<size_t>(count));
  for (uint16_t& t : tokens) t = static_cast<uint16_t>(engine() % static_cast<uint64_t>(vocab));
  data::ShardWriter writer(directory, stem, count / 2 + 1);
  ASSERT_TRUE(writer.append(tokens));
  ASSERT_TRUE(writer.finish());
}

/// Replaces the first `from` in `text`, which must be there.
inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

/// Two layers, 4 chunks of 64 tokens a step, 8 steps; commits every 2 steps, checkpoints every 3.
inline const char* const kTinyConfig = R"(edition = 1
name = "tiny"

[model]
vocab_size = 96
layers = 2
width = 32
heads = 4
kv_heads = 2
mlp_hidden = 48

[data]
path = "shards"
prefix = "tiny"
tokenizer = "tokenizer.model"

[train]
seq_len = 16
batch_tokens = 256
grad_chunk_tokens = 64
virtual_workers = 4
log_every = 1
seeds = [7]

[optimizer]
matrix_lr = 0.04
scalar_lr = 0.04
tied_embed_lr = 0.05

[schedule]
kind = "steps"
iterations = 8
warmdown_iters = 4

[quantization]
scheme = "int8"
codec = "zlib-9"

[eval]
method = "sliding_b"
stride = 5

[replay]
commit_every = 2
checkpoint_every = 3
)";

/// The same with two short steps of 64 tokens, each committed and kept: a simulated grid is slow.
inline std::string short_config(int64_t chunk_tokens, int64_t workers) {
  std::string text = replaced(kTinyConfig, "iterations = 8", "iterations = 2");
  text = replaced(text, "warmdown_iters = 4", "warmdown_iters = 1");
  text = replaced(text, "batch_tokens = 256", "batch_tokens = 64");
  text = replaced(text, "grad_chunk_tokens = 64", "grad_chunk_tokens = " + std::to_string(chunk_tokens));
  text = replaced(text, "virtual_workers = 4", "virtual_workers = " + std::to_string(workers));
  text = replaced(text, "checkpoint_every = 3", "checkpoint_every = 1");
  return replaced(text, "commit_every = 2", "commit_every = 1");
}

/// Training of the config's seed by `executor`, without a progress line.
inline train::TrainOptions quiet_training(kernels::Executor& executor, const std::string& state_dir = "") {
  train::TrainOptions o;
  o.seed = 7;
  o.state_dir = state_dir;
  o.show_progress = false;
  o.executor = &executor;
  return o;
}

/// The folder with shards and config. `text` may be edited before `load`.
class TinySubmission {
 public:
  explicit TinySubmission(std::string config = kTinyConfig) : text(std::move(config)) {
    std::filesystem::create_directories(folder / "shards");
    write_random_shards(folder / "shards", "tiny_train", 3000, 96, 1);
    write_random_shards(folder / "shards", "tiny_val", 400, 96, 2);
  }
  submission::Submission load() const {
    spill(folder / "fairway.toml", text);
    auto s = submission::load_submission(folder.path());
    EXPECT_TRUE(s) << s.error().message();
    return *s;
  }
  /// Shards only: no tokenizer is needed to train.
  train::DataFiles files() const {
    train::DataFiles f;
    f.train_paths = *data::list_shards(folder / "shards", "tiny_train");
    f.val_paths = *data::list_shards(folder / "shards", "tiny_val");
    return f;
  }
  TemporaryDirectory folder;
  std::string text;
};

}  // namespace fairway::test

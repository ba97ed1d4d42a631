/// Test-time training: gradients over tokens already handed out, SGD on the weights, Adam on adapters (NUMERICS.md, 28.3 and 28.4).
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "engine/eval/procedure.h"
#include "engine/model/gpt.h"
#include "kernels/mirrored.h"

namespace fairway::eval {

/// Sequences of one length for a gradient: row r has inputs tokens[r L .. r L + L) and targets one further. Positions of every row
/// before `first_trained` do not count.
struct TrainingRows {
  std::span<const uint16_t> tokens;  ///< rows * length + 1
  int64_t rows = 0, length = 0, first_trained = 0;
};

/// Clears every accumulator and adds the gradients of the sum of all losses; each element is one canonical chunk (NUMERICS.md, N7).
Status accumulate(model::Gpt& model, std::span<const TrainingRows> chunks);

/// `rows` rows of L tokens cut into canonical chunks of whole rows, at most `chunk_tokens` tokens (one row at least).
std::vector<TrainingRows> cut_rows(std::span<const uint16_t> tokens, int64_t rows, int64_t length, int64_t chunk_tokens);

/// g = mean gradient; clipped to a global norm; u = momentum u + g; w = w - lr u. Tensors stored in bf16 round g, u and w to it. Computed by the
/// model's executor.
class Sgd {
 public:
  /// Trains what is not in blocks 0 .. config.freeze_blocks - 1.
  Sgd(const SgdConfig& config, model::Gpt& model);
  Status step(double lr, int64_t tokens);
  void archive(Archive& archive);

 private:
  struct Slot {
    model::Parameter* parameter;
    kernels::Buffer<float> gradient;
    kernels::Mirrored<float> momentum;
  };
  SgdConfig config_;
  kernels::Executor& executor_;
  std::vector<Slot> slots_;
};

/// Adam of section 15.2 on the model's adapters; weight decay, if any, first: w = w * (1 - lr decay). Computed by the model's executor.
class AdapterAdam {
 public:
  AdapterAdam(const LoraConfig& config, model::Gpt& model);
  Status step(int64_t tokens);
  /// Moments and step count start again.
  void reset();
  void archive(Archive& archive);

 private:
  struct Slot {
    model::Parameter* parameter;
    kernels::Buffer<float> gradient;
    kernels::Mirrored<float> m, v;
  };
  LoraConfig config_;
  kernels::Executor& executor_;
  std::vector<Slot> slots_;
  int64_t steps_ = 0;
};

/// lr0 * (1 + cos(pi * index / max(count - 1, 1))) / 2: binary64, the cosine that of section 3.6 at fl32 of the angle.
double cosine_lr(double lr0, int64_t index, int64_t count);

}  // namespace fairway::eval

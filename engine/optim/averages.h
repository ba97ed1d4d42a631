/// Averages of the weights over training: an exponential moving average and the mean of snapshots (NUMERICS.md, "Averages").
#pragma once

#include <string>
#include <vector>

#include "engine/model/gpt.h"

namespace fairway::optim {

/// Which weights a run ends with.
enum class FinalWeights { kLast, kEma, kSnapshots };

struct AverageConfig {
  double ema_decay = 0.0;        ///< 0: no moving average
  int64_t snapshot_every = 0;    ///< steps; 0: no snapshots
  double snapshot_below = 0.0;   ///< a snapshot needs a multiplier of the step below this; 0: any
  int64_t snapshot_from = 0;     ///< and so many completed steps
  bool snapshots_of_ema = false; ///< of the moving average instead of the weights
  FinalWeights final_weights = FinalWeights::kLast;
};

/// A tensor of state, for commitments and checkpoints.
struct StateTensor {
  std::string name;  ///< "<parameter>.momentum", ".adam_m", ".adam_v", ".ema" or ".snapshots"; "snapshots.count"
  std::span<float> values;
};

class Averages {
 public:
  Averages(const AverageConfig& config, model::Gpt& model);

  /// The moving average starts at the weights as they are: call once the model has its initial values.
  void begin();
  /// After a step: EMA = decay EMA + (1 - decay) W; snapshots as configured.
  void update(double multiplier, int64_t completed_steps);
  /// On the host: puts the configured average in place of the weights, rounded to the storage of each tensor. Without a snapshot, snapshots leave
  /// the weights as they are; returns false then.
  bool apply();
  /// As for Optimizer.
  void use(kernels::Executor& executor);
  void download();
  void upload();
  std::vector<StateTensor> state();

 private:
  struct Slot {
    model::Parameter* parameter;
    kernels::Mirrored<float> ema, sum;
  };
  AverageConfig config_;
  kernels::Executor* executor_ = &kernels::cpu_executor();
  std::vector<Slot> slots_;
  float count_ = 0.0f;  ///< snapshots taken; kept as a tensor of the state
};

}  // namespace fairway::optim

/// Muon for the block matrices, Adam for the rest: one optimizer step from accumulated gradients.
#pragma once

#include <memory>
#include <vector>

#include "engine/base/result.h"
#include "engine/model/gpt.h"
#include "engine/optim/newton_schulz.h"
#include "engine/optim/schedule.h"

namespace fairway::optim {

struct OptimizerConfig {
  double matrix_lr = 0.04;
  double scalar_lr = 0.04;
  double tied_embed_lr = 0.05;
  MomentumConfig momentum;
  int64_t newton_schulz_steps = 5;
  kernels::Products newton_schulz = kernels::Products::kS21;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double adam_eps = 1e-8;
  double grad_clip_norm = 0.0;  ///< 0: off
};

/// A tensor of optimizer state, for commitments and checkpoints.
struct StateTensor {
  std::string name;  ///< "<parameter>.momentum", ".adam_m" or ".adam_v"
  std::span<float> values;
};

class Optimizer {
 public:
  Optimizer(const OptimizerConfig& config, model::Gpt& model);

  /// Mean gradients from the accumulators (sum / tokens), clip, then every parameter once.
  /// `multiplier` scales every learning rate; `step` is 0-based. Errors name the tensor.
  Status step(int64_t step, double multiplier, int64_t tokens);

  /// Every state tensor, in parameter order; m before v. Their values may be replaced (resume).
  std::vector<StateTensor> state();

 private:
  struct Slot {
    model::Parameter* parameter;
    kernels::Buffer<float> gradient;
    kernels::Buffer<float> first;   ///< momentum, or Adam's m
    kernels::Buffer<float> second;  ///< Adam's v
  };
  Status clip();
  Status adam(Slot& slot, int64_t step, double multiplier);
  Status muon(Slot& slot, int64_t step, double multiplier);

  OptimizerConfig config_;
  std::vector<Slot> slots_;
};

}  // namespace fairway::optim

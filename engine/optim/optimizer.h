/// Muon for the block matrices, Adam for the rest: one optimizer step from accumulated gradients.
#pragma once

#include <memory>
#include <vector>

#include "engine/base/result.h"
#include "engine/model/gpt.h"
#include "engine/optim/averages.h"
#include "engine/optim/schedule.h"

namespace fairway::optim {

/// What the clipping norm is taken over.
enum class ClipScope {
  kGlobal,  ///< the mean gradient of the step
  kWorker,  ///< the mean gradient of each virtual worker; the clipped gradients are averaged
};

enum class MuonKind {
  kStandard,
  kParallel,  ///< over banks: gradients and momentum in bf16
};

/// What takes correlations out of a matrix's momentum.
enum class Whitening {
  kNewtonSchulz,
  kMud,  ///< kernels/mud.h
};

struct OptimizerConfig {
  double matrix_lr = 0.04;
  double scalar_lr = 0.04;
  double tied_embed_lr = 0.05;
  double head_lr = 0.008;  ///< an output matrix of its own
  double lora_lr = 0.01;   ///< low-rank additions of passes
  MomentumConfig momentum;
  MuonKind muon = MuonKind::kStandard;
  double muon_wd = 0.0;  ///< decoupled decay of the matrices
  bool muon_wd_after = false;  ///< decay after the update instead of before
  double adam_wd = 0.0;  ///< decoupled decay of embeddings and scalars
  Whitening whitening = Whitening::kNewtonSchulz;
  int64_t newton_schulz_steps = 5;
  int64_t mud_passes = 1;
  kernels::Products newton_schulz = kernels::Products::kS21;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double adam_eps = 1e-8;
  double grad_clip_norm = 0.0;  ///< 0: off
  ClipScope clip_scope = ClipScope::kGlobal;
  AverageConfig averages;
};

class Optimizer {
 public:
  Optimizer(const OptimizerConfig& config, model::Gpt& model);

  /// Mean gradients from the accumulators (sum / tokens), clip, then every parameter once.
  /// `multiplier` scales every learning rate; `step` is 0-based. Errors name the tensor.
  Status step(int64_t step, double multiplier, int64_t tokens);

  /// The same with clipping per virtual worker: once per worker with its sums in the accumulators, in any order, then the update.
  Status take_worker(int64_t tokens);
  Status step_of_workers(int64_t step, double multiplier, int64_t workers);

  /// State and steps belong to `executor`, that of the model, from here on.
  void use(kernels::Executor& executor);
  /// Copies the state to the host, or what the host has to the executor; nothing with the CPU's.
  void download();
  void upload();

  /// Averages of the weights, which follow every step.
  Averages& averages() { return averages_; }

  /// Every state tensor on the host: in parameter order, m before v; then the averages. Their values may be replaced (resume).
  std::vector<StateTensor> state();

 private:
  struct Slot {
    model::Parameter* parameter;
    bool trained = false;  ///< an operation of the model adds to its gradient
    float* gradient = nullptr;               ///< the mean gradient, in `gradients_`
    kernels::Mirrored<float> first;          ///< momentum, or Adam's m
    kernels::Mirrored<float> second;         ///< Adam's v
    kernels::Mirrored<int64_t> worker_sum;  ///< clipped gradients of the workers so far, on the grid of the clip norm
  };
  /// Matrices of one shape; their gradients follow each other, so that a device whitens them together.
  struct Shape {
    int64_t rows, columns;
    std::vector<size_t> slots;
  };
  void place_gradients();
  void mean_gradients(int64_t tokens);
  Status clip();
  Status update(int64_t step, double multiplier);
  void adam(Slot& slot, int64_t step, double multiplier);
  Status matrices_one_by_one(int64_t step, double multiplier);
  Status matrices_by_shape(int64_t step, double multiplier);
  void muon_momentum(Slot& slot, int64_t step);
  void muon_update(Slot& slot, double multiplier);
  /// `count` stacked matrices; false as kernels/newton_schulz.h and kernels/mud.h say.
  bool whiten(float* u, int64_t count, int64_t rows, int64_t columns) const;
  bool parallel_muon(const Slot& slot) const {
    return config_.muon == MuonKind::kParallel && slot.parameter->group() == model::Group::kMatrix;
  }

  OptimizerConfig config_;
  kernels::Executor* executor_ = &kernels::cpu_executor();
  std::vector<Slot> slots_;
  std::vector<Shape> shapes_;
  kernels::Buffer<float> gradients_;
  Averages averages_;
};

}  // namespace fairway::optim

/// The U-Net GPT of the published systems: parameters under the upstream names, and the tape that runs it.
///
///   e = E[ids] (+ hash embedding);  x = x0 = rms(e), smeared before or after
///   first half of the blocks: x = block(x, x0), kept; second half: x = x + skip_weights[j] * (kept, last first), x = block(x, x0)
///   block: engine/model/block.h
///   logits = cap tanh(rms(x) E^T / cap)
#pragma once

#include <memory>
#include <vector>

#include "engine/model/adapters.h"
#include "engine/model/layout.h"
#include "engine/model/tape.h"

namespace fairway::model {

class Gpt {
 public:
  /// A config that check_config accepts. Parameters are zero until `initialise` or a load.
  explicit Gpt(const ModelConfig& config, const AdapterConfig& adapters = {});
  Gpt(const Gpt&) = delete;
  Gpt& operator=(const Gpt&) = delete;

  const ModelConfig& config() const { return config_; }
  /// In the registration order of the originals.
  std::vector<std::unique_ptr<Parameter>>& parameters() { return parameters_; }
  const std::vector<std::unique_ptr<Parameter>>& parameters() const { return parameters_; }
  /// "<projection>.lora_a" and ".lora_b", in the order they are applied: per block q, k, v, out, mlp up, mlp down; then the head.
  std::vector<std::unique_ptr<Parameter>>& adapters() { return adapters_.parameters(); }
  Parameter* find(const std::string& name);
  int64_t parameter_count() const;

  /// Every parameter as specified (NUMERICS.md, "Initial values"), from Philox streams named after the tensors; matrices on the
  /// hypersphere are brought there. While the model is the CPU's.
  void initialise(uint64_t seed);

  Tape& tape() { return tape_; }

  /// Parameters and passes belong to `executor`, which must outlive the model, from here on. Error kUnavailable, naming it, for what has no form for a device;
  /// the model is then as before.
  [[nodiscard]] Status use(kernels::Executor& executor);
  /// Copies parameters to the host, or what the host has to the executor; nothing with the CPU's.
  void download();
  void upload();

 private:
  void build();
  ValueId embed();
  /// rms or unit norm over the width.
  ValueId normalised(const char* label, ValueId in);
  ValueId value_embedding();
  ValueId projected(Parameter& proj, ValueId in);

  ModelConfig config_;
  std::vector<std::unique_ptr<Parameter>> parameters_;
  Layout layout_;
  Adapters adapters_;
  Tape tape_;
};

}  // namespace fairway::model

/// The U-Net GPT of the baseline and of PR #65: parameters under the upstream names, and the tape that runs it.
///
///   e = E[ids];  x = x0 = rms(e)
///   first half of the blocks: x = block(x, x0), kept; second half: x = x + skip_weights[j] * (kept, last first), x = block(x, x0)
///   block: u = mix0 x + mix1 x0;  y = u + attn_scale * Attn(rms(u));  y = y + mlp_scale * MLP(rms(y))
///   logits = cap tanh(rms(x) E^T / cap)
#pragma once

#include <memory>
#include <vector>

#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

/// Low-rank additions to projections, trained at evaluation: y' = y + B (A x), A (rank, in), B (out, rank). They are not among the
/// parameters of the model: nothing exports, commits or optimises them but their owner.
struct AdapterConfig {
  int64_t rank = 0;  ///< 0: none
  bool query = true, key = false, value = true, out = false, mlp = false;
  bool head = true;  ///< added to the logits before the cap; x is the final normalised hidden state
};

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
  std::vector<std::unique_ptr<Parameter>>& adapters() { return adapters_; }
  Parameter* find(const std::string& name);
  int64_t parameter_count() const;

  /// Every parameter as specified (NUMERICS.md, "Initial values"), from Philox streams named after the tensors.
  void initialise(uint64_t seed);

  Tape& tape() { return tape_; }

 private:
  Parameter& add(std::string name, std::vector<int64_t> shape, Group group, bool bf16 = false);
  void build();
  /// The value B (A in).
  ValueId add_adapter(const std::string& projection, ValueId in, int64_t out_width);
  /// `out`, or with `wanted` a new value: out + B (A in).
  ValueId adapt(bool wanted, const std::string& projection, ValueId in, ValueId out);

  ModelConfig config_;
  AdapterConfig adapter_config_;
  std::vector<std::unique_ptr<Parameter>> parameters_, adapters_;
  Tape tape_;
};

/// What a config must satisfy, as the error of the first key that does not ("model.width must be a multiple of model.heads").
Status check_config(const ModelConfig& config);

/// The first four bytes, big-endian, of SHA-256 of a tensor's name: its word in the Philox counter.
uint32_t tensor_word(const std::string& name);

}  // namespace fairway::model

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

class Gpt {
 public:
  /// A config that check_config accepts. Parameters are zero until `initialise` or a load.
  explicit Gpt(const ModelConfig& config);
  Gpt(const Gpt&) = delete;
  Gpt& operator=(const Gpt&) = delete;

  const ModelConfig& config() const { return config_; }
  /// In the registration order of the originals.
  std::vector<std::unique_ptr<Parameter>>& parameters() { return parameters_; }
  const std::vector<std::unique_ptr<Parameter>>& parameters() const { return parameters_; }
  Parameter* find(const std::string& name);
  int64_t parameter_count() const;

  /// Every parameter as specified (NUMERICS.md, "Initial values"), from Philox streams named after the tensors.
  void initialise(uint64_t seed);

  Tape& tape() { return tape_; }

 private:
  Parameter& add(std::string name, std::vector<int64_t> shape, Group group, bool bf16 = false);
  void build();

  ModelConfig config_;
  std::vector<std::unique_ptr<Parameter>> parameters_;
  Tape tape_;
};

/// What a config must satisfy, as the error of the first key that does not ("model.width must be a multiple of model.heads").
Status check_config(const ModelConfig& config);

/// The first four bytes, big-endian, of SHA-256 of a tensor's name: its word in the Philox counter.
uint32_t tensor_word(const std::string& name);

}  // namespace fairway::model

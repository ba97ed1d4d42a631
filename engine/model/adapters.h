/// Low-rank additions to projections, trained at evaluation: y' = y + B (A x), A (rank, in), B (out, rank). They are not among the
/// parameters of the model: nothing exports, commits or optimises them but their owner.
#pragma once

#include <memory>
#include <vector>

#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

struct AdapterConfig {
  int64_t rank = 0;  ///< 0: none
  bool query = true, key = false, value = true, out = false, mlp = false;
  bool head = true;  ///< added to the logits before the cap; x is the final normalised hidden state
};

class Adapters {
 public:
  /// Keeps a reference to `model`.
  Adapters(const AdapterConfig& config, const ModelConfig& model) : config_(config), model_(model) {}

  const AdapterConfig& config() const { return config_; }
  /// "<projection>.lora_a" and ".lora_b", in the order they were added.
  std::vector<std::unique_ptr<Parameter>>& parameters() { return parameters_; }

  /// The value B (A in), with new matrices named after `projection`.
  ValueId delta(Tape& tape, const std::string& projection, ValueId in, int64_t out_width);
  /// `out`, or with `wanted` a new value: out + B (A in).
  ValueId adapt(Tape& tape, bool wanted, const std::string& projection, ValueId in, ValueId out);

 private:
  AdapterConfig config_;
  const ModelConfig& model_;
  std::vector<std::unique_ptr<Parameter>> parameters_;
};

}  // namespace fairway::model

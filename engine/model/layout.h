/// The parameters of a config: names, shapes, groups, storage and initial values, in the registration order of the upstream scripts.
#pragma once

#include <memory>
#include <vector>

#include "engine/model/parameter.h"

namespace fairway::model {

/// Parameters of one block; null where the config has no such feature.
struct BlockParameters {
  Parameter *attn_scale = nullptr, *mlp_scale = nullptr, *mix = nullptr, *gain = nullptr;
  Parameter* value_lambda = nullptr;
  Parameter *gate_weight = nullptr, *gate_bias = nullptr;
  Parameter *q = nullptr, *k = nullptr, *v = nullptr, *out = nullptr, *up = nullptr, *down = nullptr;
};

/// Parameters by role; null or empty where the config has no such feature.
struct Layout {
  Parameter *skips = nullptr, *embedding = nullptr;
  Parameter *bigram_table = nullptr, *bigram_proj = nullptr, *bigram_scale = nullptr;
  Parameter *smear_gate = nullptr, *smear_bias = nullptr;
  std::vector<BlockParameters> blocks;
  Parameter *value_table = nullptr, *value_proj = nullptr, *value_scale = nullptr;
  std::vector<Parameter*> value_layer_scales;
  Parameter* head = nullptr;  ///< an output matrix of its own
  std::vector<Parameter*> mtp_heads;
};

/// Appends every parameter of the config to `parameters` and says which is which.
Layout register_parameters(const ModelConfig& config, std::vector<std::unique_ptr<Parameter>>& parameters);

}  // namespace fairway::model

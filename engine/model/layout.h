/// The parameters of a config: names, shapes, groups, storage and initial values, in the registration order of the upstream scripts.
#pragma once

#include <memory>
#include <vector>

#include "engine/model/parameter.h"

namespace fairway::model {

/// Parameters of a gated delta layer.
struct DeltaParameters {
  Parameter *q = nullptr, *k = nullptr, *v = nullptr, *a = nullptr, *b = nullptr, *gate = nullptr, *out = nullptr;
  Parameter *q_taps = nullptr, *k_taps = nullptr, *v_taps = nullptr;  ///< short convolutions
  Parameter *a_log = nullptr, *dt_bias = nullptr, *norm = nullptr;
};

/// Parameters of one block; null where the config has no such feature.
struct BlockParameters {
  Parameter *attn_scale = nullptr, *mix = nullptr, *gain = nullptr;
  Parameter* mlp_scale = nullptr;  ///< one row per entry of `mlp`
  Parameter* value_lambda = nullptr;
  Parameter *gate_weight = nullptr, *gate_bias = nullptr;
  Parameter *q = nullptr, *k = nullptr, *v = nullptr, *out = nullptr;
  struct Mlp {
    Parameter *up = nullptr, *down = nullptr;
    Parameter* up_scale = nullptr;
  };
  std::vector<Mlp> mlp;
  DeltaParameters delta;  ///< in place of q, k, v, out and gain
  /// What a pass adds to a matrix: y + (x a) b.
  struct LowRank {
    Parameter *a = nullptr, *b = nullptr;
  };
  struct PassParameters {
    LowRank q, k, v, out;
  };
  std::vector<PassParameters> passes;  ///< one per pass; empty without such additions
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
  Parameter* logit_scale = nullptr;
  std::vector<Parameter*> mtp_heads;
};

/// Appends every parameter of the config to `parameters` and says which is which.
Layout register_parameters(const ModelConfig& config, std::vector<std::unique_ptr<Parameter>>& parameters);

}  // namespace fairway::model

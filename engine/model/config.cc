#include "engine/model/config.h"

#include <fmt/format.h>

#include "kernels/ops/attention.h"
#include "kernels/ops/delta_rule.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/smear.h"

namespace fairway::model {
namespace {

Error bad_key(const char* key, std::string what) { return Error{Errc::kData, key, std::move(what)}; }

Status check_shape(const ModelConfig& c) {
  if (c.vocab_size < 2 || c.vocab_size > 65536) return bad_key("model.vocab_size", "must be between 2 and 65536");
  if (c.layers < 1 || c.layers > 256) return bad_key("model.layers", "must be between 1 and 256");
  if (c.width < 2 || c.width > ops::kMaxNormWidth) return bad_key("model.width", "must be between 2 and 16384");
  if (c.heads < 1 || c.width % c.heads != 0) return bad_key("model.heads", "must divide model.width");
  if (c.kv_heads < 1 || c.heads % c.kv_heads != 0) return bad_key("model.kv_heads", "must divide model.heads");
  if (c.heads / c.kv_heads > ops::kMaxAttentionGroup)
    return bad_key("model.kv_heads", "at most 64 query heads may share one");
  if (c.head_dim() % 2 != 0 || c.head_dim() > 1024) {
    return bad_key("model.heads", "model.width / model.heads must be even and at most 1024");
  }
  if (c.mlp_hidden < 1 || c.mlp_hidden > 65536) return bad_key("model.mlp_hidden", "must be between 1 and 65536");
  if (!(c.rope_base >= 1.0) || c.rope_base > 1e9) return bad_key("model.rope_base", "must be between 1 and 1e9");
  if (!(c.logit_softcap >= 0.0f) || c.logit_softcap > 1e4f)
    return bad_key("model.logit_softcap", "must be between 0 (off) and 10000");
  if (!(c.embed_init_std > 0.0f) || c.embed_init_std > 100.0f)
    return bad_key("model.embed_init_std", "must be above 0 and at most 100");
  if (!(c.qk_gain_init > 0.0f) || c.qk_gain_init > 1000.0f)
    return bad_key("model.qk_gain_init", "must be above 0 and at most 1000");
  return {};
}

Status check_layers(const ModelConfig& c, const char* key, const std::vector<int64_t>& layers) {
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i] < 0 || layers[i] >= c.layers) {
      return bad_key(key, fmt::format("layer {} does not exist with model.layers = {}", layers[i], c.layers));
    }
    if (i > 0 && layers[i] <= layers[i - 1]) return bad_key(key, "must be in ascending order, each once");
  }
  return {};
}

/// A gated delta layer has no keys and values of the attention that other features build on.
Status check_delta(const ModelConfig& c) {
  constexpr const char* key = "model.delta_layers";
  FAIRWAY_TRY(check_layers(c, key, c.delta_layers));
  if (c.delta_layers.empty()) return {};
  for (int64_t layer : c.delta_layers) {
    if (c.excludes_values(layer))
      return bad_key(key, fmt::format("layer {} is among the last model.xsa_last_n = {}", layer, c.xsa_last_n));
    if (c.value_layer_index(layer) >= 0)
      return bad_key(key, fmt::format("layer {} is in model.ve_layers as well", layer));
  }
  const char* with = c.value_residual    ? "model.value_residual"
                     : c.gated_attention ? "model.gated_attention"
                     : c.hypersphere     ? "model.hypersphere"
                                         : nullptr;
  if (with != nullptr) return bad_key(key, fmt::format("cannot go with {}; remove one of them", with));
  if (c.delta_key_dim > ops::kMaxDeltaSide || c.delta_value_dim > ops::kMaxDeltaSide ||
      c.delta_key_dim * c.delta_value_dim > ops::kMaxDeltaState) {
    return bad_key("model.delta_key_dim",
                   fmt::format("model.delta_key_dim * model.delta_value_dim = {} must be at most {}, each at most {}",
                               c.delta_key_dim * c.delta_value_dim, ops::kMaxDeltaState, ops::kMaxDeltaSide));
  }
  if (c.delta_heads * std::max(c.delta_key_dim, c.delta_value_dim) > 65536) {
    return bad_key("model.delta_heads", fmt::format("{} heads of model.delta_value_dim = {} exceed 65536 channels",
                                                    c.delta_heads, c.delta_value_dim));
  }
  return {};
}

/// Features that need each other or cannot be together; both keys are named.
Status check_features(const ModelConfig& c) {
  if (c.rope_dims < 0 || c.rope_dims % 2 != 0 || c.rope_dims > c.head_dim()) {
    return bad_key("model.rope_dims",
                   fmt::format("must be even and at most model.width / model.heads = {}", c.head_dim()));
  }
  if (c.rope_reference_length > 0 && c.rotated_dims() <= 2) {
    return bad_key("model.rope_ntk_length", "a rescaled rope base needs model.rope_dims above 2");
  }
  if (c.xsa_last_n < 0 || c.xsa_last_n > c.layers) {
    return bad_key("model.xsa_last_n", fmt::format("{} exceeds model.layers = {}", c.xsa_last_n, c.layers));
  }
  if (!(c.mlp_slope >= 0.0f) || c.mlp_slope > 1.0f) return bad_key("model.mlp_slope", "must be between 0 and 1");
  if (c.hypersphere) {
    if (c.xsa_last_n > 0) {
      return bad_key("model.hypersphere", "model.xsa_last_n leaves nothing of a first token's attention, and nothing has no direction; set it to 0");
    }
    const char* with = c.unet_skips      ? "model.unet_skips = true"
                       : c.ln_scale      ? "model.ln_scale = true"
                       : c.mtp_heads > 0 ? "model.mtp_heads"
                                         : nullptr;
    if (with != nullptr) {
      return bad_key("model.hypersphere",
                     fmt::format("hidden states of length one leave no place for {}; turn one of them off", with));
    }
  }
  if (c.mlp_blocks < 1 || c.mlp_hidden % c.mlp_blocks != 0) {
    return bad_key("model.mlp_blocks",
                   fmt::format("{} does not divide model.mlp_hidden = {}", c.mlp_blocks, c.mlp_hidden));
  }
  if (c.smear == SmearForm::kFirstChannels && c.width < ops::kSmearChannels) {
    return bad_key("model.smear_gate",
                   fmt::format("\"first_channels\" reads 12 channels, but model.width = {}", c.width));
  }
  if (c.bigram_buckets != 0 && (c.bigram_buckets < 2 || c.bigram_buckets > 65536)) {
    return bad_key("model.bigram_buckets", "must be between 2 and 65536, or 0 (off)");
  }
  if (c.bigram_buckets != 0 && (c.bigram_dim < 1 || c.bigram_dim > c.width)) {
    return bad_key("model.bigram_dim", fmt::format("must be between 1 and model.width = {}", c.width));
  }
  if (c.trigrams && (c.bigram_buckets == 0 || c.bigram_hash != ops::BigramHash::kXorCurrent)) {
    return bad_key("model.trigram_hash",
                   "shares the table of model.bigram_hash = \"xor_current\"; set it and model.bigram_buckets");
  }
  if ((c.value_dim > 0) != !c.value_layers.empty()) {
    return bad_key(c.value_dim > 0 ? "model.ve_dim" : "model.ve_layers",
                   "model.ve_dim and model.ve_layers belong together; set both or none");
  }
  if (c.value_dim < 0 || c.value_dim > c.kv_width()) {
    return bad_key("model.ve_dim",
                   fmt::format("must be at most model.kv_heads * model.width / model.heads = {}", c.kv_width()));
  }
  FAIRWAY_TRY(check_layers(c, "model.ve_layers", c.value_layers));
  FAIRWAY_TRY(check_delta(c));
  if (c.value_residual && c.loops > 1) {
    return bad_key("model.value_residual",
                   "takes the values of the first block, which with model.loops above 1 are not one thing");
  }
  if (c.loops < 1 || c.depth() > 256) {
    return bad_key("model.loops",
                   fmt::format("model.loops * model.layers = {} must be between 1 and 256", c.loops * c.layers));
  }
  if (c.loop_lora_rank < 0 || c.loop_lora_rank > c.width) {
    return bad_key("model.loop_lora_rank", fmt::format("must be at most model.width = {}", c.width));
  }
  if (c.loop_lora_rank > 0) {
    const char* with = c.loops == 1              ? "model.loops = 1 has one pass, which needs nothing of its own"
                       : c.hypersphere           ? "model.hypersphere has no place for vectors of any length"
                       : !c.delta_layers.empty() ? "model.delta_layers have no attention matrices to add to"
                                                 : nullptr;
    if (with != nullptr)
      return bad_key("model.loop_lora_rank", fmt::format("{}; change that key or remove this one", with));
  }
  if (c.mtp_heads < 0 || c.mtp_heads > 16) return bad_key("model.mtp_heads", "must be between 0 and 16");
  if (!(c.mtp_weight > 0.0f) || c.mtp_weight > 100.0f)
    return bad_key("model.mtp_weight", "must be above 0 and at most 100");
  return {};
}

}  // namespace

Status check_config(const ModelConfig& c) {
  FAIRWAY_TRY(check_shape(c));
  return check_features(c);
}

}  // namespace fairway::model

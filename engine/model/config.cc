#include "engine/model/config.h"

#include <fmt/format.h>

#include "kernels/ops/attention.h"
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
  if (c.heads / c.kv_heads > ops::kMaxAttentionGroup) return bad_key("model.kv_heads", "at most 64 query heads may share one");
  if (c.head_dim() % 2 != 0 || c.head_dim() > 1024) {
    return bad_key("model.heads", "model.width / model.heads must be even and at most 1024");
  }
  if (c.mlp_hidden < 1 || c.mlp_hidden > 65536) return bad_key("model.mlp_hidden", "must be between 1 and 65536");
  if (!(c.rope_base >= 1.0) || c.rope_base > 1e9) return bad_key("model.rope_base", "must be between 1 and 1e9");
  if (!(c.logit_softcap >= 0.0f) || c.logit_softcap > 1e4f) return bad_key("model.logit_softcap", "must be between 0 (off) and 10000");
  if (!(c.embed_init_std > 0.0f) || c.embed_init_std > 100.0f) return bad_key("model.embed_init_std", "must be above 0 and at most 100");
  if (!(c.qk_gain_init > 0.0f) || c.qk_gain_init > 1000.0f) return bad_key("model.qk_gain_init", "must be above 0 and at most 1000");
  return {};
}

/// Features that need each other or cannot be together; both keys are named.
Status check_features(const ModelConfig& c) {
  if (c.rope_dims < 0 || c.rope_dims % 2 != 0 || c.rope_dims > c.head_dim()) {
    return bad_key("model.rope_dims", fmt::format("must be even and at most model.width / model.heads = {}", c.head_dim()));
  }
  if (c.rope_reference_length > 0 && c.rotated_dims() <= 2) {
    return bad_key("model.rope_ntk_length", "a rescaled rope base needs model.rope_dims above 2");
  }
  if (c.xsa_last_n < 0 || c.xsa_last_n > c.layers) {
    return bad_key("model.xsa_last_n", fmt::format("{} exceeds model.layers = {}", c.xsa_last_n, c.layers));
  }
  if (!(c.mlp_slope >= 0.0f) || c.mlp_slope > 1.0f) return bad_key("model.mlp_slope", "must be between 0 and 1");
  if (c.smear == SmearForm::kFirstChannels && c.width < ops::kSmearChannels) {
    return bad_key("model.smear_gate", fmt::format("\"first_channels\" reads 12 channels, but model.width = {}", c.width));
  }
  if (c.bigram_buckets != 0 && (c.bigram_buckets < 2 || c.bigram_buckets > 65536)) {
    return bad_key("model.bigram_buckets", "must be between 2 and 65536, or 0 (off)");
  }
  if (c.bigram_buckets != 0 && (c.bigram_dim < 1 || c.bigram_dim > c.width)) {
    return bad_key("model.bigram_dim", fmt::format("must be between 1 and model.width = {}", c.width));
  }
  if (c.trigrams && (c.bigram_buckets == 0 || c.bigram_hash != ops::BigramHash::kXorCurrent)) {
    return bad_key("model.trigram_hash", "shares the table of model.bigram_hash = \"xor_current\"; set it and model.bigram_buckets");
  }
  if ((c.value_dim > 0) != !c.value_layers.empty()) {
    return bad_key(c.value_dim > 0 ? "model.ve_dim" : "model.ve_layers", "model.ve_dim and model.ve_layers belong together; set both or none");
  }
  if (c.value_dim < 0 || c.value_dim > c.kv_width()) {
    return bad_key("model.ve_dim", fmt::format("must be at most model.kv_heads * model.width / model.heads = {}", c.kv_width()));
  }
  for (size_t i = 0; i < c.value_layers.size(); ++i) {
    if (c.value_layers[i] < 0 || c.value_layers[i] >= c.layers) {
      return bad_key("model.ve_layers", fmt::format("layer {} does not exist with model.layers = {}", c.value_layers[i], c.layers));
    }
    if (i > 0 && c.value_layers[i] <= c.value_layers[i - 1]) return bad_key("model.ve_layers", "must be in ascending order, each once");
  }
  if (c.value_residual && c.loops > 1) {
    return bad_key("model.value_residual", "takes the values of the first block, which with model.loops above 1 are not one thing");
  }
  if (c.loops < 1 || c.depth() > 256) {
    return bad_key("model.loops", fmt::format("model.loops * model.layers = {} must be between 1 and 256", c.loops * c.layers));
  }
  if (c.mtp_heads < 0 || c.mtp_heads > 16) return bad_key("model.mtp_heads", "must be between 0 and 16");
  if (!(c.mtp_weight > 0.0f) || c.mtp_weight > 100.0f) return bad_key("model.mtp_weight", "must be above 0 and at most 100");
  return {};
}

}  // namespace

Status check_config(const ModelConfig& c) {
  FAIRWAY_TRY(check_shape(c));
  return check_features(c);
}

}  // namespace fairway::model

/// Shape and numerics of a model: the keys of [model] and [numerics] in fairway.toml.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/quantised.h"

namespace fairway::model {

using kernels::Products;

/// How block matrices are seen by the forward pass while training (straight-through estimation).
enum class Qat {
  kNone,
  kInt6Row,  ///< bf16 copy, per-row clip at quantile 0.9999984, 31 steps (PR #65)
};

struct ModelConfig {
  int64_t vocab_size = 1024;
  int64_t layers = 9;
  int64_t width = 512;
  int64_t heads = 8;
  int64_t kv_heads = 4;
  int64_t mlp_hidden = 1024;
  double rope_base = 10000.0;
  bool rope_bf16_frequencies = false;
  float logit_softcap = 30.0f;
  float qk_gain_init = 1.5f;
  float embed_init_std = 0.005f;
  bool embed_bf16 = true;  ///< the token embedding, its gradient and its moments are stored in bf16, as in the originals
  Qat qat = Qat::kNone;

  Products linear = Products::kP3;     ///< block matrices: forward
  Products dgrad = Products::kP3;      ///< all products for input gradients
  Products wgrad = Products::kP3;      ///< all products for weight gradients
  Products head = Products::kP3;       ///< output matrix: forward
  Products attention = Products::kP3;  ///< scores, values and their gradients

  int64_t head_dim() const { return width / heads; }
  int64_t kv_width() const { return kv_heads * head_dim(); }
  int64_t encoder_layers() const { return layers / 2; }
  int64_t skip_count() const { return encoder_layers() < layers - encoder_layers() ? encoder_layers() : layers - encoder_layers(); }
};

}  // namespace fairway::model

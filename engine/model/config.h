/// Shape and numerics of a model: the keys of [model] and [numerics] in fairway.toml.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "kernels/num/float_bits.h"
#include "kernels/ops/token_hash.h"
#include "kernels/quantised.h"

namespace fairway::model {

using kernels::Products;

/// How matrices are seen by the forward pass while training (straight-through estimation).
enum class Qat {
  kNone,
  kInt6Row,     ///< bf16 copy, per-row clip at quantile 0.9999984, 31 steps (PR #65)
  kInt6RowMax,  ///< steps of max(row maximum / 31, 1 / 31), the result rounded to bf16
  kInt8Row,     ///< per-row clip at quantile 0.9999984, steps of at least 1 / 127 (PR #212)
};

/// Which matrices fake quantisation covers.
enum class QatScope {
  kAllMatrices,
  kProjections,  ///< those of hash and value embeddings only
};

/// Which form of the smear gate mixes a token's vector with its predecessor's (NUMERICS.md, "Smear gates").
enum class SmearForm {
  kNone,
  kKeep,           ///< s x + (1 - s) previous, before the norm
  kFirstChannels,  ///< x + 0.07 g previous, one g per token from its first 12 channels, after the norm
  kBlend,          ///< (1 - s) x + s previous, after the norm
};

/// How the matrices that do not start at zero are drawn (NUMERICS.md, "Orthogonal initial values").
enum class MatrixInit {
  kUniform,           ///< U(-1/sqrt(in), 1/sqrt(in)); input-feature projections 0
  kOrthogonal,        ///< every matrix not meant to start at zero
  kOrthogonalScaled,  ///< matrices with both dimensions from 64 up; input-feature projections also times 1/sqrt(2 layers)
  kOrthogonalBanks,   ///< block matrices of any size; input-feature projections with both dimensions from 64 up
};

/// Which optimizer trains the projections of hash and value embeddings.
enum class ProjectionGroup { kMuon, kAdam };

struct ModelConfig {
  int64_t vocab_size = 1024;
  int64_t layers = 9;  ///< blocks with weights of their own
  int64_t width = 512;
  int64_t heads = 8;
  int64_t kv_heads = 4;
  int64_t mlp_hidden = 1024;
  double rope_base = 10000.0;
  bool rope_bf16_frequencies = false;
  int64_t rope_dims = 0;              ///< rotated dims of a head; 0: all
  int64_t rope_reference_length = 0;  ///< windows longer than this get a larger rope base; 0: none
  float logit_softcap = 30.0f;
  float qk_gain_init = 1.5f;
  float embed_init_std = 0.005f;
  bool embed_bf16 = true;  ///< the token embedding, its gradient and its moments are stored in bf16, as in the originals
  bool tied_head = true;   ///< logits from the token embedding; else from lm_head.weight
  Qat qat = Qat::kNone;
  QatScope qat_scope = QatScope::kAllMatrices;

  bool unet_skips = true;
  bool hypersphere = false;  ///< hidden states and the vectors of matrices have length one (nGPT)
  bool ln_scale = false;   ///< normalised block inputs times 1/sqrt(layer + 1)
  int64_t xsa_last_n = 0;  ///< exclusive attention in so many last blocks
  float mlp_slope = 0.0f;  ///< slope of the squared activation below zero
  int64_t mlp_blocks = 1;  ///< residual MLPs one after the other that share mlp_hidden (hourglass)
  SmearForm smear = SmearForm::kNone;
  int64_t bigram_buckets = 0;  ///< 0: no bigram embedding
  int64_t bigram_dim = 128;
  ops::BigramHash bigram_hash = ops::BigramHash::kXorCurrent;
  bool trigrams = false;     ///< the bigram table is looked up by token triples as well
  int64_t value_dim = 0;     ///< width of the value embedding; 0: none
  std::vector<int64_t> value_layers;
  std::vector<int64_t> delta_layers;  ///< blocks with a gated delta layer in place of attention
  int64_t delta_heads = 6;
  int64_t delta_key_dim = 64;  ///< of a head
  int64_t delta_value_dim = 128;
  bool value_residual = false;
  bool gated_attention = false;
  int64_t loops = 1;         ///< passes over the blocks
  int64_t loop_lora_rank = 0;  ///< of what each pass adds to a block's attention matrices for itself; 0: none
  int64_t mtp_heads = 0;     ///< heads that predict further tokens, in training only
  bool mtp_square = false;   ///< each is a (width, width) matrix before the output matrix, instead of an output matrix
  float mtp_weight = 0.2f;
  MatrixInit matrix_init = MatrixInit::kUniform;
  ProjectionGroup projection_group = ProjectionGroup::kMuon;

  Products linear = Products::kP3;     ///< block matrices: forward
  Products dgrad = Products::kP3;      ///< all products for input gradients
  Products wgrad = Products::kP3;      ///< all products for weight gradients
  Products head = Products::kP3;       ///< output matrix: forward
  Products attention = Products::kP3;  ///< scores, values and their gradients

  int64_t head_dim() const { return width / heads; }
  int64_t rotated_dims() const { return rope_dims > 0 ? rope_dims : head_dim(); }
  int64_t kv_width() const { return kv_heads * head_dim(); }
  /// Blocks as they are run: every pass counts.
  int64_t depth() const { return layers * loops; }
  int64_t encoder_layers() const { return unet_skips ? depth() / 2 : 0; }
  int64_t skip_count() const { return std::min(encoder_layers(), depth() - encoder_layers()); }
  /// Scales of the hypersphere are stored as multiples of this, so that they start at 1/sqrt(width) like the entries of a unit vector.
  float sphere_factor() const { return static_cast<float>(num::sqrt(static_cast<double>(width))); }
  /// The size of the first steps along the hypersphere.
  float sphere_step_factor() const { return static_cast<float>(0.05 * num::sqrt(static_cast<double>(width))); }
  /// ".mlp", or ".mlp.<k>" where a block has several.
  std::string mlp_name(int64_t k) const { return mlp_blocks == 1 ? ".mlp" : ".mlp." + std::to_string(k); }
  bool excludes_values(int64_t layer) const { return layer >= layers - xsa_last_n; }
  /// Position of a layer in value_layers, or -1.
  int64_t value_layer_index(int64_t layer) const {
    const auto found = std::find(value_layers.begin(), value_layers.end(), layer);
    return found == value_layers.end() ? -1 : found - value_layers.begin();
  }
  bool is_delta_layer(int64_t layer) const { return std::find(delta_layers.begin(), delta_layers.end(), layer) != delta_layers.end(); }
  /// The scripts that hash the previous token's id first name these modules differently.
  bool hashes_previous_first() const { return bigram_buckets > 0 && bigram_hash != ops::BigramHash::kXorCurrent; }
  /// The bigram embedding of these forms is multiplied by a trained scalar.
  bool bigram_has_scale() const {
    return bigram_hash == ops::BigramHash::kXorPrevious || bigram_hash == ops::BigramHash::kXorCurrent;
  }
  /// At most so many gradient terms of one kind reach a parameter per token, or per chunk.
  int64_t terms_per_parameter() const {
    const int64_t per_pass = delta_layers.empty() ? 1 : delta_heads;  // the gate of a delta layer is shared by its heads
    const int64_t of_output_matrix = mtp_square ? 1 + mtp_heads : 1;
    return std::max<int64_t>({loops * per_pass, trigrams ? 2 : 1, of_output_matrix});
  }
};

/// What a config must satisfy, as the error of the first key that does not ("model.heads must divide model.width").
Status check_config(const ModelConfig& config);

}  // namespace fairway::model

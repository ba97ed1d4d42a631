/// State dicts of the published nine-layer models (names and shapes only) and small helpers shared by these tests.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/quant/tensor.h"
#include "kernels/num/philox.h"

namespace fairway::quant {

struct ModelShape {
  int64_t layers = 9;
  int64_t width = 512;
  int64_t kv_width = 256;
  int64_t heads = 8;
  int64_t mlp_hidden = 1024;
  int64_t vocab = 1024;
  int64_t bigram_buckets = 0;                ///< 0: no bigram table
  std::string bigram = "bigram";             ///< the module's name
  std::string bigram_table = "embed";        ///< the table's
  bool bigram_scale = true;
  std::vector<TensorSpec> smear;             ///< the gate of the smear, if any
  bool value_embedding = false;              ///< VE of dimension 128 on two layers
  bool value_residual_and_gate = false;
};

/// In registration order; the formats in which the original scripts keep the parameters.
inline std::vector<TensorSpec> state_dict(const ModelShape& m) {
  int64_t encoder = m.layers / 2;
  int64_t d = m.width;
  std::vector<TensorSpec> specs;
  auto f32 = [&](std::string name, std::vector<int64_t> shape) {
    specs.push_back({std::move(name), std::move(shape), FloatFormat::kF32});
  };
  f32("skip_weights", {encoder, d});
  specs.push_back({"tok_emb.weight", {m.vocab, d}, FloatFormat::kBf16});
  if (m.bigram_buckets > 0) {
    specs.push_back({m.bigram + "." + m.bigram_table + ".weight", {m.bigram_buckets, 128}, FloatFormat::kBf16});
    f32(m.bigram + ".proj.weight", {d, 128});
    if (m.bigram_scale) f32(m.bigram + ".scale", {});
  }
  specs.insert(specs.end(), m.smear.begin(), m.smear.end());
  if (m.value_embedding) {
    specs.push_back({"ve_shared.embed.weight", {m.vocab, 128}, FloatFormat::kBf16});
    f32("ve_shared.proj.weight", {m.kv_width, 128});
    f32("ve_shared.scale", {});
    for (const char* layer : {"0", "1"}) f32(std::string("ve_layer_scales.") + layer, {1});
  }
  for (int64_t i = 0; i < m.layers; ++i) {
    std::string block = "blocks." + std::to_string(i) + ".";
    f32(block + "attn_scale", {d});
    f32(block + "mlp_scale", {d});
    f32(block + "resid_mix", {2, d});
    f32(block + "attn.q_gain", {m.heads});
    if (m.value_residual_and_gate) {
      f32(block + "attn.vr_lambda", {2});
      f32(block + "attn.attn_gate.weight", {m.heads, d});
      f32(block + "attn.attn_gate.bias", {m.heads});
    }
    f32(block + "attn.c_q.weight", {d, d});
    f32(block + "attn.c_k.weight", {m.kv_width, d});
    f32(block + "attn.c_v.weight", {m.kv_width, d});
    f32(block + "attn.proj.weight", {d, d});
    f32(block + "mlp.fc.weight", {m.mlp_hidden, d});
    f32(block + "mlp.proj.weight", {d, m.mlp_hidden});
  }
  return specs;
}

inline ModelShape baseline_shape() { return {}; }
inline ModelShape pr65_shape() {
  ModelShape shape;
  shape.mlp_hidden = 1536;
  return shape;
}

/// The eleven-layer models: bigram with scale, smear gate of the width.
inline ModelShape eleven_layers(int64_t bigram_buckets) {
  ModelShape shape = pr65_shape();
  shape.layers = 11;
  shape.bigram_buckets = bigram_buckets;
  shape.smear = {{"smear.gate", {512}, FloatFormat::kF32}};
  return shape;
}

/// Normal values of the given deviation, rounded to the tensor's format; a fixed function of the seed.
inline NamedTensor random_tensor(const TensorSpec& spec, uint64_t seed, float deviation) {
  NamedTensor tensor{spec, std::vector<float>(*element_count(spec.shape))};
  for (size_t i = 0; i < tensor.values.size(); ++i) {
    tensor.values[i] = round_to_format(deviation * num::normal(seed, 0, num::kPurposeInit, i), spec.format);
  }
  return tensor;
}

inline std::vector<TensorView> views_of(const std::vector<NamedTensor>& tensors) {
  std::vector<TensorView> views;
  for (const NamedTensor& tensor : tensors) views.push_back({tensor.spec, tensor.values});
  return views;
}

/// Equal as bits: zeros of different sign differ, NaNs of the same bits do not.
inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (num::bits_of(a[i]) != num::bits_of(b[i])) return false;
  }
  return true;
}

}  // namespace fairway::quant

/// Small models with every parameter away from its initial zero, and batches of random tokens for them.
#pragma once

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "engine/model/gpt.h"
#include "kernels/accumulate.h"
#include "kernels/elementwise.h"

namespace fairway::test {

inline model::ModelConfig small_config(int64_t layers = 3) {
  model::ModelConfig c;
  c.vocab_size = 61;
  c.layers = layers;
  c.width = 48;
  c.heads = 4;
  c.kv_heads = 2;
  c.mlp_hidden = 80;
  return c;
}

/// With every feature of the eleven-layer systems; at least three layers.
inline model::ModelConfig every_feature(int64_t layers) {
  model::ModelConfig c = small_config(layers);
  c.rope_dims = 6;
  c.ln_scale = true;
  c.xsa_last_n = layers - 1;
  c.mlp_slope = 0.5f;
  c.smear = model::SmearForm::kBlend;
  c.bigram_buckets = 53;
  c.bigram_dim = 20;
  c.trigrams = true;
  c.value_dim = 10;
  c.value_layers = {layers - 2, layers - 1};
  c.value_residual = c.gated_attention = true;
  c.mtp_heads = 2;
  return c;
}

inline void set_products(model::ModelConfig& c, kernels::Products p) { c.linear = c.dgrad = c.wgrad = c.head = c.attention = p; }

/// Gaussian steps away from the initial values, so that no gradient vanishes: the projections start as zero.
inline void perturb(model::Gpt& model, uint64_t seed, float scale = 1.0f) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal;
  for (auto& p : model.parameters()) {
    const bool matrix = p->group() == model::Group::kMatrix, embedding = p->group() == model::Group::kEmbedding;
    for (float& v : p->values()) v += normal(engine) * scale * (embedding ? 0.3f : matrix ? 0.12f : 0.2f);
    if (p->bf16()) kernels::round_to_bf16(p->values());
    p->changed();
  }
}

inline std::vector<uint16_t> random_tokens(int64_t count, int64_t vocab, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<uint16_t> tokens(static_cast<size_t>(count));
  for (uint16_t& t : tokens) t = static_cast<uint16_t>(engine() % static_cast<uint64_t>(vocab));
  return tokens;
}

/// Tokens that outlive the spans of the batch made from them.
struct Sample {
  int64_t sequences, length;
  std::vector<uint16_t> inputs, targets;
  Sample(int64_t s, int64_t l, int64_t vocab, uint64_t seed)
      : sequences(s), length(l), inputs(random_tokens(s * l, vocab, seed)), targets(random_tokens(s * l, vocab, seed + 1000)) {}
  model::Batch batch(bool training) const {
    model::Batch b;
    b.sequences = sequences;
    b.length = length;
    b.inputs = inputs;
    b.targets = targets;
    b.training = training;
    b.term_limit = kernels::term_limit(sequences * length);
    b.chunk_term_limit = kernels::term_limit(64);
    return b;
  }
};

inline std::vector<float> nll_of(model::Gpt& model, const model::Batch& batch) {
  const Status status = model.tape().forward(batch);
  EXPECT_TRUE(status) << status.error().message();
  auto& nll = model.tape().nll();
  return {nll.data(), nll.data() + nll.size()};
}

inline void clear_gradients(model::Gpt& model) {
  for (auto& p : model.parameters()) p->clear_gradient();
}

/// Adds the gradients of one batch to the accumulators.
inline void add_gradients(model::Gpt& model, const Sample& sample) {
  const Status forward = model.tape().forward(sample.batch(true));
  ASSERT_TRUE(forward) << forward.error().message();
  const Status backward = model.tape().backward();
  ASSERT_TRUE(backward) << backward.error().message();
}

inline std::vector<int64_t> accumulators(model::Gpt& model) {
  std::vector<int64_t> all;
  for (auto& p : model.parameters()) all.insert(all.end(), p->gradients().begin(), p->gradients().end());
  return all;
}

}  // namespace fairway::test

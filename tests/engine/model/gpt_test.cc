/// Parameters: names, shapes, counts and initial values.
#include "engine/model/gpt.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "engine/model/initial_values.h"
#include "kernels/num/half.h"
#include "kernels/num/philox.h"
#include "tests/engine/model/small_model.h"

namespace fairway::model {
namespace {

ModelConfig pr65() {
  ModelConfig c;
  c.mlp_hidden = 1536;
  return c;
}

TEST(Parameters, BaselineAndPr65HaveThePublishedCounts) {
  EXPECT_EQ(Gpt(ModelConfig()).parameter_count(), 17'059'912);
  EXPECT_EQ(Gpt(ModelConfig()).parameters().size(), 92u);
  EXPECT_EQ(Gpt(pr65()).parameter_count(), 21'778'504);
  EXPECT_EQ(Gpt(pr65()).parameters().size(), 92u);
}

/// The eleven-layer configs of PRs #212 to #635 as the specification tabulates them.
ModelConfig eleven_layers(ops::BigramHash hash, int64_t buckets, SmearForm smear) {
  ModelConfig c;
  c.layers = 11;
  c.mlp_hidden = 1536;
  c.smear = smear;
  c.bigram_buckets = buckets;
  c.bigram_hash = hash;
  return c;
}

TEST(Parameters, ThePublishedSystemsHaveThePublishedCounts) {
  using ops::BigramHash;
  auto expect = [](const ModelConfig& c, int64_t parameters, size_t tensors) {
    const Gpt m(c);
    EXPECT_EQ(m.parameter_count(), parameters);
    EXPECT_EQ(m.parameters().size(), tensors);
  };
  ModelConfig keep = eleven_layers(BigramHash::kAffine92821, 4096, SmearForm::kKeep);
  keep.layers = 9;
  expect(keep, 22'368'840, 95);
  expect(eleven_layers(BigramHash::kAffine31, 2048, SmearForm::kFirstChannels), 26'829'413, 116);
  ModelConfig xsa = eleven_layers(BigramHash::kXorPrevious, 2048, SmearForm::kBlend);
  xsa.xsa_last_n = 4;
  expect(xsa, 26'829'913, 116);
  expect(eleven_layers(BigramHash::kXorCurrent, 2048, SmearForm::kBlend), 26'829'913, 116);
  ModelConfig values = eleven_layers(BigramHash::kXorCurrent, 2048, SmearForm::kBlend);
  values.value_dim = 128;
  values.value_layers = {9, 10};
  expect(values, 26'993'756, 121);
  values.bigram_buckets = 1536;
  expect(values, 26'928'220, 121);
  ModelConfig residual = eleven_layers(BigramHash::kXorCurrent, 1536, SmearForm::kBlend);
  residual.value_residual = residual.gated_attention = true;
  expect(residual, 26'809'543, 149);
  ModelConfig loops;
  loops.layers = loops.loops = 3;
  EXPECT_EQ(Gpt(loops).find("skip_weights")->shape(), (std::vector<int64_t>{4, 512}));
  loops.unet_skips = false;
  loops.mlp_hidden = 1536;
  EXPECT_EQ(Gpt(loops).parameter_count(), 7'608'344);
  loops.loop_lora_rank = 8;
  const Gpt adapted(loops);
  EXPECT_EQ(adapted.parameter_count(), 7'608'344 + 9 * 8 * (6 * 512 + 2 * 256));
  std::vector<std::string> names;
  for (const auto& p : adapted.parameters()) names.push_back(p->name());
  const auto first = std::find(names.begin(), names.end(), "lora_adapters.0.0.q_A");
  ASSERT_NE(first, names.end());
  EXPECT_EQ(
      std::vector<std::string>(first, first + 9),
      (std::vector<std::string>{"lora_adapters.0.0.q_A", "lora_adapters.0.0.q_B", "lora_adapters.0.0.k_A",
                                "lora_adapters.0.0.k_B", "lora_adapters.0.0.v_A", "lora_adapters.0.0.v_B",
                                "lora_adapters.0.0.proj_A", "lora_adapters.0.0.proj_B", "lora_adapters.0.1.q_A"}));
}

TEST(Parameters, OnlyTheEmbeddingIsStoredInBf16AndOnlyByDefault) {
  ModelConfig c = test::small_config(2);
  const Gpt published(c);
  for (const auto& p : published.parameters()) EXPECT_EQ(p->bf16(), p->name() == "tok_emb.weight") << p->name();
  c.embed_bf16 = false;
  const Gpt binary32(c);
  for (const auto& p : binary32.parameters()) EXPECT_FALSE(p->bf16()) << p->name();
}

TEST(Parameters, CountsFollowTheFormulaForAnyDepth) {
  for (int64_t layers = 1; layers <= 6; ++layers) {
    const ModelConfig c = test::small_config(layers);
    const int64_t d = c.width, kv = d / c.heads * c.kv_heads;
    const int64_t expected = c.vocab_size * d + layers * (2 * d * d + 2 * kv * d + 2 * c.mlp_hidden * d + c.heads + 4 * d) +
                             std::min(layers / 2, layers - layers / 2) * d;
    EXPECT_EQ(Gpt(c).parameter_count(), expected) << layers;
  }
}

TEST(Parameters, NamesShapesAndOrderAreThoseOfTheUpstreamScripts) {
  Gpt m{ModelConfig()};
  const std::vector<std::pair<std::string, std::vector<int64_t>>> first = {
      {"skip_weights", {4, 512}},
      {"tok_emb.weight", {1024, 512}},
      {"blocks.0.attn_scale", {512}},
      {"blocks.0.mlp_scale", {512}},
      {"blocks.0.resid_mix", {2, 512}},
      {"blocks.0.attn.q_gain", {8}},
      {"blocks.0.attn.c_q.weight", {512, 512}},
      {"blocks.0.attn.c_k.weight", {256, 512}},
      {"blocks.0.attn.c_v.weight", {256, 512}},
      {"blocks.0.attn.proj.weight", {512, 512}},
      {"blocks.0.mlp.fc.weight", {1024, 512}},
      {"blocks.0.mlp.proj.weight", {512, 1024}},
      {"blocks.1.attn_scale", {512}},
  };
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(m.parameters()[i]->name(), first[i].first);
    EXPECT_EQ(m.parameters()[i]->shape(), first[i].second) << first[i].first;
  }
  EXPECT_EQ(m.parameters().back()->name(), "blocks.8.mlp.proj.weight");
  EXPECT_EQ(m.find("blocks.3.attn.q_gain")->group(), Group::kScalar);
  EXPECT_EQ(m.find("blocks.3.mlp.fc.weight")->group(), Group::kMatrix);
  EXPECT_EQ(m.find("skip_weights")->group(), Group::kScalar);
  EXPECT_TRUE(m.find("tok_emb.weight")->bf16());
  EXPECT_EQ(m.find("blocks.9.attn_scale"), nullptr);
}

std::map<std::string, std::vector<float>> initial_values(const ModelConfig& config, uint64_t seed) {
  Gpt m(config);
  m.initialise(seed);
  std::map<std::string, std::vector<float>> out;
  for (auto& p : m.parameters()) out[p->name()].assign(p->values().begin(), p->values().end());
  return out;
}

TEST(InitialValues, AllAreRoundedToBfloat16) {
  for (const auto& [name, values] : initial_values(test::small_config(), 1)) {
    for (float v : values) ASSERT_EQ(v, num::round_to_bf16(v)) << name;
  }
}

TEST(InitialValues, ConstantsAreThoseOfTheSpecification) {
  for (const auto& [name, values] : initial_values(test::small_config(), 7)) {
    auto all = [&](float x) {
      for (float v : values) ASSERT_EQ(v, x) << name;
    };
    if (name.ends_with("proj.weight")) all(0.0f);
    if (name.ends_with("q_gain")) all(1.5f);
    if (name.ends_with("_scale") || name == "skip_weights") all(1.0f);
    if (name.ends_with("resid_mix")) {
      for (size_t i = 0; i < values.size(); ++i) ASSERT_EQ(values[i], i < values.size() / 2 ? 1.0f : 0.0f) << name;
    }
  }
}

TEST(InitialValues, MatricesAreUniformWithinOneOverTheRootOfTheirInput) {
  ModelConfig c;
  c.layers = 1;
  Gpt m(c);
  m.initialise(3);
  for (const char* suffix : {"attn.c_q", "attn.c_k", "attn.c_v", "mlp.fc"}) {
    const Parameter& p = *m.find(std::string("blocks.0.") + suffix + ".weight");
    const double bound = 1.0 / std::sqrt(512.0);
    double sum = 0, squares = 0, largest = 0;
    for (float v : p.values()) {
      sum += v;
      squares += static_cast<double>(v) * v;
      largest = std::max(largest, std::abs(static_cast<double>(v)));
    }
    const double n = static_cast<double>(p.count());
    // bf16 may round the largest draws up by half a unit.
    EXPECT_LE(largest, bound * (1 + 0x1p-8)) << suffix;
    EXPECT_GT(largest, bound * 0.999) << suffix;
    EXPECT_LT(std::abs(sum / n), 5 * bound / std::sqrt(3 * n)) << suffix;
    EXPECT_NEAR(squares / n, bound * bound / 3, 0.01 * bound * bound) << suffix;
  }
}

TEST(InitialValues, TheEmbeddingIsNormalWithItsStandardDeviation) {
  ModelConfig c;
  c.layers = 1;
  Gpt m(c);
  m.initialise(3);
  const Parameter& p = *m.find("tok_emb.weight");
  double sum = 0, squares = 0, fourth = 0;
  for (float v : p.values()) {
    const double z = v / 0.005;
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
  }
  const double n = static_cast<double>(p.count());
  EXPECT_NEAR(sum / n, 0.0, 5 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1.0, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(fourth / n, 3.0, 5 * std::sqrt(96 / n));
}

TEST(InitialValues, DependOnSeedAndNameOnly) {
  const auto three = initial_values(test::small_config(3), 42), five = initial_values(test::small_config(5), 42);
  for (const auto& [name, values] : three) {
    if (name != "skip_weights") EXPECT_EQ(values, five.at(name)) << name;
  }
  const auto other = initial_values(test::small_config(3), 43);
  EXPECT_NE(three.at("tok_emb.weight"), other.at("tok_emb.weight"));
  EXPECT_NE(three.at("blocks.0.attn.c_q.weight"), other.at("blocks.0.attn.c_q.weight"));
  // No two tensors share a stream.
  std::set<std::vector<float>> starts;
  size_t drawn = 0;
  for (const auto& [name, values] : three) {
    if (!name.ends_with("c_q.weight") && !name.ends_with("c_k.weight") && !name.ends_with("c_v.weight") && !name.ends_with("fc.weight")) continue;
    starts.insert({values.begin(), values.begin() + 16});
    ++drawn;
  }
  EXPECT_EQ(starts.size(), drawn);
}

TEST(InitialValues, ElementIsTheStatedFunctionOfSeedWordAndIndex) {
  const auto values = initial_values(test::small_config(), 0x123456789abcdefull);
  const auto& q = values.at("blocks.1.attn.c_q.weight");
  // SHA-256("abc") starts with ba7816bf: the word is the first four bytes, big-endian.
  EXPECT_EQ(tensor_word("abc"), 0xba7816bfu);
  const uint32_t word = tensor_word("blocks.1.attn.c_q.weight");
  const float bound = 1.0f / std::sqrt(48.0f);
  for (size_t i : {size_t{0}, size_t{5}, size_t{1000}, q.size() - 1}) {
    const float u = num::uniform(0x123456789abcdefull, word, 1, i);
    EXPECT_EQ(q[i], num::round_to_bf16((2.0f * u - 1.0f) * bound)) << i;
  }
}

TEST(InitialLoss, IsTheLogarithmOfTheVocabulary) {
  ModelConfig c;
  c.layers = 2;
  Gpt m(c);
  m.initialise(1337);
  const test::Sample sample(2, 64, c.vocab_size, 9);
  double sum = 0;
  for (float x : test::nll_of(m, sample.batch(false))) sum += x;
  // Logits of standard deviation 0.11 add half their variance on average.
  EXPECT_NEAR(sum / 128, std::log(1024.0), 0.05);
}

TEST(InitialLoss, IsExactlyUniformWhenAllLogitsAreEqual) {
  Gpt m(test::small_config());
  m.initialise(1);
  Parameter& e = *m.find("tok_emb.weight");
  for (int64_t r = 0; r < e.rows(); ++r) {
    for (int64_t c = 0; c < e.columns(); ++c) e.value()[r * e.columns() + c] = c % 2 == 0 ? 0.25f : -0.5f;
  }
  e.changed();
  const test::Sample sample(2, 20, 61, 9);
  for (float x : test::nll_of(m, sample.batch(false))) EXPECT_NEAR(x, std::log(61.0), 1e-6);
}

TEST(CheckConfig, NamesTheFirstKeyThatDoesNotFit) {
  struct Case {
    void (*change)(ModelConfig&);
    const char* key;
  };
  const Case cases[] = {
      {[](ModelConfig& c) { c.vocab_size = 65537; }, "model.vocab_size"},
      {[](ModelConfig& c) { c.layers = 0; }, "model.layers"},
      {[](ModelConfig& c) { c.heads = 7; }, "model.heads"},
      {[](ModelConfig& c) { c.kv_heads = 3; }, "model.kv_heads"},
      {[](ModelConfig& c) { c.kv_heads = 0; }, "model.kv_heads"},
      {[](ModelConfig& c) { c.heads = c.kv_heads = 512; }, "model.heads"},
      {[](ModelConfig& c) { c.mlp_hidden = 0; }, "model.mlp_hidden"},
      {[](ModelConfig& c) { c.rope_base = 0.5; }, "model.rope_base"},
      {[](ModelConfig& c) { c.rope_base = NAN; }, "model.rope_base"},
      {[](ModelConfig& c) { c.logit_softcap = -1.0f; }, "model.logit_softcap"},
  };
  EXPECT_TRUE(check_config(ModelConfig()));
  for (const Case& n : cases) {
    ModelConfig c;
    n.change(c);
    const Status status = check_config(c);
    ASSERT_FALSE(status) << n.key;
    EXPECT_EQ(status.error().where, n.key);
    EXPECT_EQ(status.error().code, Errc::kData);
  }
}

}  // namespace
}  // namespace fairway::model

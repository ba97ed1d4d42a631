/// What must not matter: other sequences, later tokens, the order of chunks, threads, instruction sets, running twice.
#include <gtest/gtest.h>

#include "tests/engine/model/small_model.h"
#include "tests/kernels/support.h"

namespace fairway {
namespace {

using model::Gpt;
using test::Sample;

/// Recurrences in time in place of attention, in some layers, and several MLPs.
model::ModelConfig delta_layers() {
  model::ModelConfig c = test::small_config(4);
  c.delta_layers = {0, 2};
  c.delta_heads = 3;
  c.delta_key_dim = 8;
  c.delta_value_dim = 12;
  c.mlp_blocks = 2;
  c.smear = model::SmearForm::kFirstChannels;
  return c;
}

model::ModelConfig hypersphere() {
  model::ModelConfig c = test::small_config(3);
  c.hypersphere = true;
  c.unet_skips = false;
  return c;
}

/// The baseline's operations, a model with every operation that can be combined, and what cannot be combined with them.
class Model : public ::testing::TestWithParam<model::ModelConfig (*)()> {
 protected:
  Model() : model(GetParam()()) {
    model.initialise(5);
    test::perturb(model, 11);
  }
  Gpt model;
};

Sample slice(const Sample& s, int64_t sequence, int64_t length) {
  Sample one(1, length, 61, 0);
  std::copy_n(s.inputs.begin() + sequence * s.length, length, one.inputs.begin());
  std::copy_n(s.targets.begin() + sequence * s.length, length, one.targets.begin());
  return one;
}

TEST_P(Model, ASequenceScoresTheSameBitsWhateverItsNeighbours) {
  const Sample batch(4, 75, 61, 3);
  const auto together = test::nll_of(model, batch.batch(false));
  for (int64_t s : {2, 0, 3}) {
    const auto alone = test::nll_of(model, slice(batch, s, 75).batch(false));
    ASSERT_TRUE(std::equal(alone.begin(), alone.end(), together.begin() + s * 75)) << s;
  }
}

TEST_P(Model, LaterTokensChangeNoEarlierBit) {
  const Sample batch(1, 150, 61, 3);
  const auto before = test::nll_of(model, batch.batch(false));
  for (int64_t cut : {1, 17, 63, 64, 65, 128, 149}) {
    Sample changed = batch;
    for (int64_t i = cut; i < 150; ++i) changed.inputs[static_cast<size_t>(i)] = static_cast<uint16_t>((changed.inputs[static_cast<size_t>(i)] + 1 + i) % 61);
    const auto after = test::nll_of(model, changed.batch(false));
    ASSERT_TRUE(std::equal(before.begin(), before.begin() + cut, after.begin())) << cut;
    ASSERT_FALSE(std::equal(before.begin() + cut, before.end(), after.begin() + cut)) << cut;
  }
}

TEST_P(Model, AHugeLaterTokenChangesNoEarlierBit) {
  // A scale that looked ahead would see token 60, which comes late and whose keys, values and hidden states dwarf the others.
  Sample batch(1, 150, 60, 3);
  batch.inputs[140] = 60;
  model.find("tok_emb.weight")->value()[60 * 48 + 5] = 0x1p14f;
  for (int64_t i = 0; i < model.config().layers; ++i) {
    // On the hypersphere nothing is large, and nothing is mixed.
    if (!model.config().hypersphere) model.find("blocks." + std::to_string(i) + ".resid_mix")->value()[5] = 64.0f;
  }
  for (auto& p : model.parameters()) p->changed();
  const auto whole = test::nll_of(model, batch.batch(false));
  const auto prefix = test::nll_of(model, slice(batch, 0, 140).batch(false));
  EXPECT_TRUE(std::equal(prefix.begin(), prefix.end(), whole.begin()));
}

TEST_P(Model, APrefixAloneScoresTheSameBits) {
  const Sample batch(1, 150, 61, 3);
  const auto whole = test::nll_of(model, batch.batch(false));
  for (int64_t length : {1, 2, 63, 64, 65, 149}) {
    const auto prefix = test::nll_of(model, slice(batch, 0, length).batch(false));
    ASSERT_TRUE(std::equal(prefix.begin(), prefix.end(), whole.begin())) << length;
  }
}

TEST_P(Model, SkippingUnscoredPositionsChangesNoBit) {
  const Sample sample(2, 75, 61, 3);
  const auto all = test::nll_of(model, sample.batch(false));
  for (int64_t first : {1, 64, 74}) {
    model::Batch batch = sample.batch(false);
    batch.first_scored = first;
    const auto some = test::nll_of(model, batch);
    ASSERT_EQ(some.size(), static_cast<size_t>(2 * (75 - first)));
    for (int64_t s = 0; s < 2; ++s) {
      EXPECT_TRUE(std::equal(all.begin() + s * 75 + first, all.begin() + (s + 1) * 75, some.begin() + s * (75 - first))) << first;
    }
  }
}

TEST_P(Model, TrainingAndEvaluationComputeTheSameLosses) {
  const Sample sample(2, 75, 61, 3);
  EXPECT_EQ(test::nll_of(model, sample.batch(true)), test::nll_of(model, sample.batch(false)));
}

std::vector<int64_t> gradients_in_order(Gpt& model, const std::vector<Sample>& chunks, const std::vector<size_t>& order) {
  test::clear_gradients(model);
  for (size_t i : order) test::add_gradients(model, chunks[i]);
  return test::accumulators(model);
}

std::vector<Sample> four_chunks() {
  std::vector<Sample> chunks;
  for (uint64_t i = 0; i < 4; ++i) chunks.emplace_back(2, 33, 61, 20 + i);
  return chunks;
}

TEST_P(Model, TheOrderOfChunksChangesNoAccumulatorBit) {
  const auto chunks = four_chunks();
  const auto expected = gradients_in_order(model, chunks, {0, 1, 2, 3});
  EXPECT_EQ(gradients_in_order(model, chunks, {3, 1, 0, 2}), expected);
  EXPECT_NE(gradients_in_order(model, chunks, {0, 1, 2, 2}), expected);
}

TEST_P(Model, ChunksComputedByTwoModelsAddUpToTheSameBits) {
  const auto chunks = four_chunks();
  const auto expected = gradients_in_order(model, chunks, {0, 1, 2, 3});
  Gpt other(model.config());
  other.initialise(5);
  test::perturb(other, 11);
  for (const auto& [mine, theirs] : {std::pair<std::vector<size_t>, std::vector<size_t>>{{0, 2}, {1, 3}}, {{3}, {2, 1, 0}}}) {
    auto sum = gradients_in_order(model, chunks, mine);
    const auto rest = gradients_in_order(other, chunks, theirs);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += rest[i];
    EXPECT_EQ(sum, expected);
  }
}

TEST_P(Model, RunningTwiceGivesTheSameBitsWhateverRanBetween) {
  const auto chunks = four_chunks();
  const auto expected = gradients_in_order(model, chunks, {0, 1});
  test::nll_of(model, Sample(3, 101, 61, 9).batch(false));
  EXPECT_EQ(gradients_in_order(model, chunks, {0, 1}), expected);
}

TEST_P(Model, ThreadsAndInstructionSetsChangeNoAccumulatorBit) {
  const std::vector<Sample> chunks = {Sample(3, 75, 61, 3)};
  test::Machine restore;
  std::vector<int64_t> expected;
  std::vector<float> expected_nll;
  for (kernels::Isa isa : test::available_sets()) {
    kernels::set_isa(isa);
    for (int threads = 1; threads <= 4; ++threads) {
      kernels::set_thread_count(threads);
      const auto found = gradients_in_order(model, chunks, {0});
      const auto nll = test::nll_of(model, chunks[0].batch(false));
      if (expected.empty()) {
        expected = found;
        expected_nll = nll;
      }
      EXPECT_TRUE(found == expected) << kernels::isa_name(isa) << " " << threads;
      EXPECT_TRUE(nll == expected_nll) << kernels::isa_name(isa) << " " << threads;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Baseline, Model, ::testing::Values([] { return test::small_config(); }));
INSTANTIATE_TEST_SUITE_P(EveryFeature, Model, ::testing::Values([] { return test::every_feature(4); }));
INSTANTIATE_TEST_SUITE_P(DeltaLayers, Model, ::testing::Values(delta_layers));
INSTANTIATE_TEST_SUITE_P(Hypersphere, Model, ::testing::Values(hypersphere));

}  // namespace
}  // namespace fairway

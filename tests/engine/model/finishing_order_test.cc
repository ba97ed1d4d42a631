// When a parameter's gradient is final: with the first operation on the tape that trains it, and never before.
#include <algorithm>
#include <map>

#include "small_model.h"

namespace fairway::model {
namespace {

using test::Sample;

std::vector<Parameter*> all_of(Gpt& model) {
  std::vector<Parameter*> list;
  for (auto* group : {&model.parameters(), &model.adapters()}) {
    for (auto& p : *group) {
      if (p->count() > 0) list.push_back(p.get());
    }
  }
  return list;
}

/// The order in which a backward pass finished, after a check that nothing was added to an accumulator afterwards.
std::vector<Parameter*> finished_in(Gpt& model) {
  model.initialise(5);
  test::perturb(model, 3);
  for (auto& p : model.adapters()) {
    for (size_t i = 0; i < p->values().size(); ++i) p->values()[i] = 0.01f * static_cast<float>(1 + i % 7);
    p->changed();
  }
  for (Parameter* p : all_of(model)) p->clear_gradient();
  const Sample sample(2, 12, model.config().vocab_size, 1);
  std::vector<Parameter*> order;
  std::map<Parameter*, std::vector<int64_t>> when_finished;
  EXPECT_TRUE(model.tape().forward(sample.batch(true)));
  EXPECT_TRUE(model.tape().backward([&](Parameter& p) {
    order.push_back(&p);
    when_finished[&p].assign(p.gradients().begin(), p.gradients().end());
  }));
  for (const auto& [p, gradient] : when_finished) {
    EXPECT_TRUE(std::equal(gradient.begin(), gradient.end(), p->gradients().begin())) << p->name();
  }
  return order;
}

void expect_each_once(const ModelConfig& config, const AdapterConfig& adapters = {}) {
  Gpt model(config, adapters);
  const std::vector<Parameter*> order = finished_in(model);
  EXPECT_TRUE(order == model.tape().finishing_order());
  for (Parameter* p : all_of(model)) {
    const auto times = std::count(order.begin(), order.end(), p);
    const auto gradient = p->gradients();
    const bool trained = std::any_of(gradient.begin(), gradient.end(), [](int64_t g) { return g != 0; });
    EXPECT_EQ(times, trained ? 1 : 0) << p->name();
  }
}

size_t place(const std::vector<Parameter*>& order, Gpt& model, const char* name) {
  return static_cast<size_t>(std::find(order.begin(), order.end(), model.find(name)) - order.begin());
}

TEST(FinishingOrder, EveryTrainedParameterFinishesOnceAndNothingIsAddedAfterwards) {
  expect_each_once(test::small_config(3));
  expect_each_once(test::every_feature(3));
  ModelConfig c = test::small_config(2);
  c.tied_head = false;
  c.smear = SmearForm::kKeep;
  c.mtp_heads = 2;
  c.mtp_square = true;  // they train the output matrix too
  expect_each_once(c);
  AdapterConfig adapters;
  adapters.rank = 2;
  adapters.key = adapters.out = adapters.mlp = true;
  expect_each_once(test::small_config(2), adapters);
}

TEST(FinishingOrder, WeightsOfALoopFinishInItsFirstPass) {
  ModelConfig c = test::small_config(2);
  c.loops = 3;
  c.loop_lora_rank = 2;
  expect_each_once(c);
}

TEST(FinishingOrder, DeltaLayersAndTheHypersphereToo) {
  ModelConfig delta = test::small_config(2), sphere = test::small_config(2), smear = test::small_config(2);
  delta.delta_layers = {1};
  sphere.hypersphere = true;
  sphere.unet_skips = false;
  smear.smear = SmearForm::kFirstChannels;
  for (const ModelConfig& c : {delta, sphere, smear}) expect_each_once(c);
}

TEST(FinishingOrder, LaterBlocksFinishFirstAndATiedEmbeddingLast) {
  Gpt model(test::small_config(3));
  const auto order = finished_in(model);
  EXPECT_LT(place(order, model, "blocks.2.mlp.proj.weight"), place(order, model, "blocks.2.attn.c_q.weight"));
  EXPECT_LT(place(order, model, "blocks.2.attn.c_q.weight"), place(order, model, "blocks.0.mlp.proj.weight"));
  EXPECT_EQ(place(order, model, "tok_emb.weight"), order.size() - 1);
}

}  // namespace
}  // namespace fairway::model

// Models computed through the executor of a device, on a simulated grid: the CPU's bits in losses, logits and
// gradients, without a finding.
#include "kernels/cuda/device_executor.h"
#include "small_model.h"
#include "tests/kernels/cuda/simulated_device.h"

namespace fairway::model {
namespace {

using test::Sample;
using SimulatedExecutor = cuda::DeviceExecutor<test::SimulatedDevice>;

/// The logits that a scorer is given.
class Kept : public LogitsSink {
 public:
  Status take(int64_t, int64_t rows, float* logits) override {
    all.insert(all.end(), logits, logits + rows * 61);
    return {};
  }
  std::vector<float> all;
};

std::vector<float> logits_of(Gpt& model, const Sample& sample, int64_t first_scored) {
  Kept kept;
  Batch batch = sample.batch(false);
  batch.sink = &kept;
  batch.targets = {};
  batch.first_scored = first_scored;
  const Status status = model.tape().forward(batch);
  EXPECT_TRUE(status) << status.error().message();
  return kept.all;
}

struct Results {
  std::vector<float> nll, logits, training_nll;
  std::vector<int64_t> gradients;
  bool operator==(const Results&) const = default;
};

/// Losses, logits, and the gradients of two chunks in one accumulator.
Results results_of(Gpt& model) {
  Results r;
  const Sample first(2, 21, 61, 1), second(2, 21, 61, 2);
  r.nll = test::nll_of(model, first.batch(false));
  r.logits = logits_of(model, first, 5);
  test::clear_gradients(model);
  test::add_gradients(model, first);
  r.training_nll = {model.tape().nll().data(), model.tape().nll().data() + model.tape().nll().size()};
  test::add_gradients(model, second);
  for (auto& p : model.parameters()) p->download_gradient();
  r.gradients = test::accumulators(model);
  return r;
}

void expect_same_on_a_device(const ModelConfig& config) {
  SimulatedExecutor executor(uint64_t{7});
  Gpt model(config);
  model.initialise(1337);
  test::perturb(model, 3);
  const Results expected = results_of(model);
  ASSERT_TRUE(model.use(executor));
  const Results got = results_of(model);
  EXPECT_EQ(executor.queue().problem(), "");
  EXPECT_TRUE(executor.sound());
  EXPECT_TRUE(expected.nll == got.nll) << "losses";
  EXPECT_TRUE(expected.logits == got.logits) << "logits";
  EXPECT_TRUE(expected.training_nll == got.training_nll) << "losses in training";
  EXPECT_TRUE(expected.gradients == got.gradients) << "gradients";
  EXPECT_GT(executor.queue().launches(), 100);
  // Back on the CPU nothing is left of the device.
  ASSERT_TRUE(model.use(kernels::cpu_executor()));
  EXPECT_TRUE(results_of(model) == expected);
}

TEST(DeviceModel, TheBaselineGivesTheBitsOfTheCpu) { expect_same_on_a_device(test::small_config(2)); }

TEST(DeviceModel, TheFeaturesOfTheElevenLayerSystemsGiveTheBitsOfTheCpu) {
  ModelConfig c = test::every_feature(3);
  c.rope_reference_length = 16;
  c.qat = Qat::kInt6RowMax;
  expect_same_on_a_device(c);
}

TEST(DeviceModel, AnOutputMatrixOfItsOwnAndAllProductsGiveTheBitsOfTheCpu) {
  ModelConfig c = test::small_config(1);
  c.tied_head = false;
  c.smear = SmearForm::kKeep;
  test::set_products(c, kernels::Products::kS21);
  expect_same_on_a_device(c);
}

TEST(DeviceModel, FakeQuantisationAtAQuantileGivesTheBitsOfTheCpu) {
  for (Qat qat : {Qat::kInt6Row, Qat::kInt8Row}) {
    ModelConfig c = test::small_config(1);
    c.qat = qat;
    expect_same_on_a_device(c);
  }
}

TEST(DeviceModel, AGateFromTheFirstChannelsGivesTheBitsOfTheCpu) {
  ModelConfig c = test::small_config(1);
  c.smear = SmearForm::kFirstChannels;
  expect_same_on_a_device(c);
}

TEST(DeviceModel, TheHypersphereGivesTheBitsOfTheCpu) {
  ModelConfig c = test::small_config(2);
  c.hypersphere = true;
  c.unet_skips = false;
  expect_same_on_a_device(c);
}

TEST(DeviceModel, GatedDeltaLayersGiveTheBitsOfTheCpu) {
  ModelConfig c = test::small_config(2);
  c.delta_layers = {1};
  c.delta_heads = 2;
  c.delta_key_dim = 6;
  c.delta_value_dim = 10;
  expect_same_on_a_device(c);
}

TEST(DeviceModel, AnOperationWithoutAFormForADeviceIsRefusedByName) {
  class OnTheHost : public Op {
   public:
    OnTheHost() : Op("blocks.3.attn") {}
    Status forward(Tape&) override { return {}; }
    Status backward(Tape&) override { return {}; }
  };
  SimulatedExecutor executor(uint64_t{8});
  Tape tape;
  tape.add_op(std::make_unique<OnTheHost>());
  const Status used = tape.use(executor);
  ASSERT_FALSE(used);
  EXPECT_EQ(used.error().exit_code(), 69);
  EXPECT_EQ(used.error().message(),
            "blocks.3.attn: this operation has no form for --device cuda yet; use --device cpu");
  EXPECT_EQ(&tape.executor(), &kernels::cpu_executor()) << "the tape is as before";
}

TEST(DeviceModel, AValueThatCannotBeUsedIsLearnedLateAndNamedWhenWatched) {
  SimulatedExecutor executor(uint64_t{9});
  Gpt model(test::small_config(2));
  model.initialise(1);
  model.find("blocks.1.attn_scale")->value()[3] = num::float_of(0x7f800000u);
  const Sample sample(1, 8, 61, 3);
  Status on_cpu = model.tape().forward(sample.batch(false));
  ASSERT_FALSE(on_cpu);
  ASSERT_TRUE(model.use(executor));
  EXPECT_TRUE(model.tape().forward(sample.batch(false)));
  EXPECT_FALSE(executor.sound());
  executor.watch(true);
  Status on_device = model.tape().forward(sample.batch(false));
  ASSERT_FALSE(on_device);
  EXPECT_EQ(on_device.error().message(), on_cpu.error().message());
}

}  // namespace
}  // namespace fairway::model

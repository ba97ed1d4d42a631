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

}  // namespace
}  // namespace fairway::model

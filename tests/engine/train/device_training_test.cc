// Training and scoring through the executor of a device, on a simulated grid: the CPU's commitments, checkpoints and
// scores, without a finding.
#include <gtest/gtest.h>

#include <filesystem>

#include "engine/train/memory_plan.h"
#include "engine/train/trainer.h"
#include "tests/kernels/cuda/device_fixture.h"
#include "tests/support/thread_communicator.h"
#include "tests/support/tiny_submission.h"

namespace fairway::train {
namespace {

using test::quiet_training;
using test::replaced;
using test::TinySubmission;
using test::SimulatedExecutor;

class DeviceTraining : public test::DeviceFixture {};

std::string short_config() { return test::short_config(32, 2); }

Result<Trained> run(const TinySubmission& t, const TrainOptions& options) {
  const auto s = t.load();
  return train(s, t.files(), nullptr, options, *comm::single_process(), nullptr);
}

bool same_weights(model::Gpt& a, model::Gpt& b) {
  for (size_t i = 0; i < a.parameters().size(); ++i) {
    const auto x = a.parameters()[i]->values(), y = b.parameters()[i]->values();
    if (!std::equal(x.begin(), x.end(), y.begin())) return false;
  }
  return true;
}

void expect_same_training(kernels::Executor& device, const std::string& config) {
  TinySubmission t(config);
  auto expected = run(t, quiet_training(kernels::cpu_executor()));
  ASSERT_TRUE(expected) << expected.error().message();
  auto got = run(t, quiet_training(device));
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(got->progress.commitments, expected->progress.commitments);
  EXPECT_EQ(got->last_train_loss, expected->last_train_loss);
  EXPECT_TRUE(same_weights(*got->model, *expected->model));
}

TEST_F(DeviceTraining, EndsInTheCommitmentsOfTheCpu) { expect_same_training(device(), short_config()); }

TEST_F(DeviceTraining, ClippingAveragesAndFakeQuantisationEndInTheCommitmentsOfTheCpu) {
  std::string text = replaced(short_config(), "matrix_lr = 0.04",
                              "matrix_lr = 0.04\nmuon = \"parallel\"\nmuon_wd = 0.04\nadam_wd = 0.04\ngrad_clip_norm = "
                              "0.3\nclip_scope = \"worker\"");
  text = replaced(
      text, "[schedule]",
      "[averages]\nema_decay = 0.8\nsnapshot_every = 1\nsnapshots_of = \"ema\"\nfinal_weights = \"ema\"\n\n[schedule]");
  expect_same_training(device(), replaced(text, "scheme = \"int8\"", "scheme = \"int8\"\nqat = \"int6_row\""));
}

TEST_F(DeviceTraining, MudOnTheHypersphereEndsInTheCommitmentsOfTheCpu) {
  const std::string text =
      replaced(short_config(), "mlp_hidden = 48",
               "mlp_hidden = 48\nhypersphere = true\nunet_skips = false\nsmear_gate = \"first_channels\"");
  expect_same_training(device(), replaced(text, "matrix_lr = 0.04", "matrix_lr = 0.04\nmuon_whitening = \"mud\""));
}

/// What the plan foresees is what the first step asks for, and no later step asks for more: the plan is of one step,
/// the run has two.
TEST(MemoryPlan, IsWhatTrainingAsksFor) {
  TinySubmission t(short_config());
  const auto s = t.load();
  auto plan = plan_memory(s, s.train.grad_chunk_tokens);
  ASSERT_TRUE(plan) << plan.error().message();
  SimulatedExecutor executor(uint64_t{5});
  const size_t before = executor.queue().peak_bytes();
  executor.queue().set_capacity(before + plan->peak_bytes - 1);
  auto refused = run(t, quiet_training(executor));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().exit_code(), 69);
  EXPECT_NE(refused.error().message().find(
                "GB of device memory are wanted (parameters and accumulators 0.00 GB, optimizer state"),
            std::string::npos)
      << refused.error().message();
  EXPECT_EQ(executor.queue().peak_bytes(), before) << "a refused run takes nothing";
  executor.queue().set_capacity(size_t{1} << 32);
  ASSERT_TRUE(run(t, quiet_training(executor)));
  // The executor's own words are in the plan and in `before`; the run's sum of losses takes as much.
  EXPECT_EQ(executor.queue().peak_bytes() - before, plan->peak_bytes);
}

/// A value that cannot be used is named as the CPU names it, though the device learns of it at the end of the step.
TEST_F(DeviceTraining, AStepThatFailsEndsWithTheErrorOfTheCpu) {
  TinySubmission t(short_config());
  const auto s = t.load();
  model::Gpt model(s.model);
  model.initialise(7);
  model.find("blocks.1.attn_scale")->value()[3] = num::float_of(num::kInfinityBits);
  optim::Optimizer optimizer(s.optimizer, model);
  Progress progress;
  progress.seed = 7;
  const std::string state = t.folder / "broken.state";
  ASSERT_TRUE(write_state(state, s.config_sha256, model, optimizer, progress));
  std::vector<std::string> errors;
  for (kernels::Executor* e : {&kernels::cpu_executor(), &device()}) {
    TrainOptions options = quiet_training(*e);
    options.start_state = state;
    auto failed = run(t, options);
    ASSERT_FALSE(failed);
    EXPECT_EQ(failed.error().exit_code(), 65);
    errors.push_back(failed.error().message());
  }
  EXPECT_EQ(errors[0], errors[1]);
  EXPECT_EQ(errors[0].substr(0, 23), "step 1: blocks.1.mlp_no") << errors[0];
}

/// Nothing that training takes is refused: not of what is shipped, nor of what replaces parts of it.
TEST(MemoryPlan, EverySubmissionHasAFormForADevice) {
  const std::filesystem::path root = std::filesystem::path(FAIRWAY_SOURCE_DIR) / "submissions";
  int64_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(root)) {
    if (!std::filesystem::exists(entry.path() / "fairway.toml")) continue;
    auto s = submission::load_submission(entry.path().string());
    ASSERT_TRUE(s) << entry.path();
    const auto plan = plan_memory(*s, s->train.grad_chunk_tokens);
    EXPECT_TRUE(plan) << entry.path() << ": " << plan.error().message();
    ++count;
  }
  EXPECT_GT(count, 10);
  auto s = submission::load_submission((root / "pr831-neural-cache").string());
  ASSERT_TRUE(s);
  s->model.delta_layers = {0, 1};
  s->model.xsa_last_n = 0;
  s->model.mlp_blocks = 2;
  s->optimizer.whitening = optim::Whitening::kMud;
  const auto plan = plan_memory(*s, s->train.grad_chunk_tokens);
  EXPECT_TRUE(plan) << plan.error().message();
}

/// 65,536 tokens, what one of eight GPUs takes of a step, even if they all were one chunk.
TEST(MemoryPlan, TheElevenLayerStackFitsInto60Gigabytes) {
  for (const char* name : {"pr549-parallel-muon-ttt", "pr635-value-residual-ttt", "pr831-neural-cache"}) {
    auto s = submission::load_submission(std::string(FAIRWAY_SOURCE_DIR) + "/submissions/" + name);
    ASSERT_TRUE(s) << s.error().message();
    auto chunk = plan_memory(*s, s->train.grad_chunk_tokens), share = plan_memory(*s, 65536);
    ASSERT_TRUE(chunk && share) << name;
    std::printf("%s: %lld tokens at once %.2f GB (%s)\n", name, static_cast<long long>(s->train.grad_chunk_tokens),
                static_cast<double>(chunk->peak_bytes) * 1e-9, chunk->summary().c_str());
    std::printf("%s: 65536 tokens at once %.2f GB (%s)\n", name, static_cast<double>(share->peak_bytes) * 1e-9,
                share->summary().c_str());
    EXPECT_LE(share->peak_bytes, size_t{60} * 1000 * 1000 * 1000) << name;
    // Six activations of 512 channels per layer are the least that a backward pass needs.
    EXPECT_GT(share->peak_bytes, size_t{65536} * 11 * 6 * 512 * 4) << name;
    EXPECT_LT(chunk->peak_bytes, share->peak_bytes);
  }
}

TEST_F(DeviceTraining, ARunThatChangesItsDeviceInTheMiddleEndsInTheSameCommitments) {
  TinySubmission t(short_config());
  auto expected = run(t, quiet_training(kernels::cpu_executor()));
  ASSERT_TRUE(expected);
  for (bool device_first : {true, false}) {
    const std::string folder = t.folder / (device_first ? "to_cpu" : "to_device");
    TrainOptions part = quiet_training(device_first ? device() : kernels::cpu_executor(), folder);
    part.stop_step = 1;
    ASSERT_TRUE(run(t, part));
    auto rest = run(t, quiet_training(device_first ? kernels::cpu_executor() : device(), folder));
    ASSERT_TRUE(rest) << rest.error().message();
    EXPECT_EQ(rest->progress.commitments, expected->progress.commitments);
  }
}

}  // namespace
}  // namespace fairway::train

// Training and scoring through the executor of a device, on a simulated grid: the CPU's commitments, checkpoints and
// scores, without a finding.
#include <gtest/gtest.h>

#include "engine/eval/evaluator.h"
#include "engine/train/trainer.h"
#include "kernels/cuda/device_executor.h"
#include "tests/kernels/cuda/simulated_device.h"
#include "tests/support/thread_communicator.h"
#include "tests/support/tiny_submission.h"

namespace fairway::train {
namespace {

using test::replaced;
using test::TinySubmission;
using SimulatedExecutor = cuda::DeviceExecutor<test::SimulatedDevice>;

/// Few and short steps: a simulated grid is slow.
std::string short_config() {
  std::string text = replaced(test::kTinyConfig, "iterations = 8", "iterations = 2");
  text = replaced(text, "warmdown_iters = 4", "warmdown_iters = 1");
  text = replaced(text, "batch_tokens = 256", "batch_tokens = 64");
  text = replaced(text, "grad_chunk_tokens = 64", "grad_chunk_tokens = 32");
  text = replaced(text, "virtual_workers = 4", "virtual_workers = 2");
  text = replaced(text, "checkpoint_every = 3", "checkpoint_every = 1");
  return replaced(text, "commit_every = 2", "commit_every = 1");
}

TrainOptions quiet(kernels::Executor& executor, const std::string& state_dir = "") {
  TrainOptions o;
  o.seed = 7;
  o.state_dir = state_dir;
  o.show_progress = false;
  o.executor = &executor;
  return o;
}

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

void expect_same_training(const std::string& config) {
  TinySubmission t(config);
  auto expected = run(t, quiet(kernels::cpu_executor()));
  ASSERT_TRUE(expected) << expected.error().message();
  SimulatedExecutor executor(uint64_t{3});
  auto got = run(t, quiet(executor));
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(executor.queue().problem(), "");
  EXPECT_GT(executor.queue().launches(), 500);
  EXPECT_EQ(got->progress.commitments, expected->progress.commitments);
  EXPECT_EQ(got->last_train_loss, expected->last_train_loss);
  EXPECT_TRUE(same_weights(*got->model, *expected->model));
}

TEST(DeviceTraining, EndsInTheCommitmentsOfTheCpu) { expect_same_training(short_config()); }

TEST(DeviceTraining, ClippingAndAveragesEndInTheCommitmentsOfTheCpu) {
  std::string text = replaced(short_config(), "matrix_lr = 0.04",
                              "matrix_lr = 0.04\nmuon = \"parallel\"\nmuon_wd = 0.04\nadam_wd = 0.04\ngrad_clip_norm = "
                              "0.3\nclip_scope = \"worker\"");
  text = replaced(
      text, "[schedule]",
      "[averages]\nema_decay = 0.8\nsnapshot_every = 1\nsnapshots_of = \"ema\"\nfinal_weights = \"ema\"\n\n[schedule]");
  expect_same_training(text);
}

TEST(DeviceTraining, ARunThatChangesItsDeviceInTheMiddleEndsInTheSameCommitments) {
  TinySubmission t(short_config());
  auto expected = run(t, quiet(kernels::cpu_executor()));
  ASSERT_TRUE(expected);
  SimulatedExecutor executor(uint64_t{4});
  for (bool device_first : {true, false}) {
    const std::string folder = t.folder / (device_first ? "to_cpu" : "to_device");
    TrainOptions part =
        quiet(device_first ? static_cast<kernels::Executor&>(executor) : kernels::cpu_executor(), folder);
    part.stop_step = 1;
    ASSERT_TRUE(run(t, part));
    auto rest =
        run(t, quiet(device_first ? kernels::cpu_executor() : static_cast<kernels::Executor&>(executor), folder));
    ASSERT_TRUE(rest) << rest.error().message();
    EXPECT_EQ(rest->progress.commitments, expected->progress.commitments);
  }
  EXPECT_EQ(executor.queue().problem(), "");
}

}  // namespace
}  // namespace fairway::train

// Ranks whose gradients are summed where they were computed, while the backward pass goes on: the bits of one process
// on the CPU, whatever happens to a rank. On the CPU and on simulated devices.
#include <gtest/gtest.h>

#include "engine/train/trainer.h"
#include "tests/kernels/cuda/device_fixture.h"
#include "tests/support/device_communicator.h"
#include "tests/support/tiny_submission.h"

namespace fairway::train {
namespace {

using test::quiet_training;
using test::replaced;
using test::SimulatedExecutor;
using test::TinySubmission;

/// Four chunks of one row each: two ranks add two of them up before they sum.
std::string short_config() { return test::short_config(16, 4); }

/// The workers take turns, each with one chunk: in every turn all ranks but one have none.
std::string clipped_by_worker(std::string text) {
  return replaced(text, "matrix_lr = 0.04", "matrix_lr = 0.04\ngrad_clip_norm = 0.3\nclip_scope = \"worker\"");
}

std::vector<Commitment> of_one_process(const TinySubmission& t) {
  const auto s = t.load();
  auto trained =
      train(s, t.files(), nullptr, quiet_training(kernels::cpu_executor()), *comm::single_process(), nullptr);
  EXPECT_TRUE(trained) << trained.error().message();
  return trained ? trained->progress.commitments : std::vector<Commitment>();
}

struct Outcome {
  std::vector<Commitment> commitments;
  double loss = 0.0;
  std::string error, found;  ///< of the run; of the simulation
  int exit_code = 0;
  int64_t sums = 0;
};

/// `simulated`: every rank has a device of its own. `dies_at`: the last rank dies at its sum of this number.
std::vector<Outcome> on_ranks(const TinySubmission& t, int size, bool simulated, TrainOptions options,
                              int64_t dies_at = -1) {
  const auto s = t.load();
  std::vector<Outcome> outcomes(static_cast<size_t>(size));
  test::on_ranks(size, [&](comm::Communicator& threads) {
    Outcome& o = outcomes[static_cast<size_t>(threads.rank())];
    test::DeviceCommunicator ranks(threads, threads.rank() == size - 1 ? dies_at : -1);
    TrainOptions mine = options;
    std::optional<SimulatedExecutor> device;
    if (simulated) mine.executor = &device.emplace(static_cast<uint64_t>(11 + threads.rank()));
    try {
      auto trained = train(s, t.files(), nullptr, mine, ranks, nullptr);
      if (trained) {
        o.commitments = trained->progress.commitments;
        o.loss = trained->last_train_loss;
      } else {
        o.error = trained.error().message();
        o.exit_code = trained.error().exit_code();
      }
    } catch (const test::LostRank& e) {
      o.error = e.what();
    }
    o.sums = ranks.sums();
    if (device) o.found = device->queue().problem();
    if (!o.error.empty() && dies_at >= 0) throw test::LostRank();
  });
  return outcomes;
}

void expect_all(const std::vector<Outcome>& outcomes, const std::vector<Commitment>& expected) {
  for (const Outcome& o : outcomes) {
    EXPECT_EQ(o.error, "");
    EXPECT_EQ(o.found, "");
    EXPECT_EQ(o.commitments, expected);
    EXPECT_EQ(o.loss, outcomes[0].loss);
    EXPECT_GT(o.sums, 0);
    EXPECT_EQ(o.sums, outcomes[0].sums);
  }
}

TEST(DeviceRanks, SumsDuringTheBackwardPassEndInTheCommitmentsOfOneProcess) {
  for (const std::string& config : {short_config(), clipped_by_worker(short_config()),
                                    replaced(short_config(), "layers = 2", "layers = 2\nloops = 2")}) {
    TinySubmission t(config);
    const auto expected = of_one_process(t);
    ASSERT_EQ(expected.size(), 2u);
    for (int size : {2, 4}) expect_all(on_ranks(t, size, false, quiet_training(kernels::cpu_executor())), expected);
  }
}

TEST(DeviceRanks, TwoSimulatedDevicesEndInTheCommitmentsOfOneProcess) {
  TinySubmission t(short_config());
  expect_all(on_ranks(t, 2, true, quiet_training(kernels::cpu_executor())), of_one_process(t));
}

/// On the device of one rank only, a value cannot be used; the others have nothing to complain of.
TEST(DeviceRanks, AnOverflowOnOneDeviceStopsAllAndTheLastCheckpointStays) {
  TinySubmission t(replaced(short_config(), "mlp_hidden = 48", "mlp_hidden = 48\ntied_head = false"));
  const auto s = t.load();
  // A token of the last chunk of step 1 that no other chunk has: its embedding is infinite, the output matrix is
  // another.
  auto stream = data::TokenStream::open(t.files().train_paths, 96);
  ASSERT_TRUE(stream);
  auto batches = data::TrainingBatches::create(std::move(*stream),
                                               {s.train.batch_tokens, s.train.seq_len, s.train.virtual_workers});
  ASSERT_TRUE(batches);
  std::vector<uint16_t> inputs(64), targets(64);
  ASSERT_TRUE(batches->fill_step(0, inputs, targets));
  const auto rare = std::find_if(inputs.begin() + 48, inputs.end(), [&](uint16_t token) {
    return std::find(inputs.begin(), inputs.begin() + 48, token) == inputs.begin() + 48;
  });
  ASSERT_NE(rare, inputs.end());
  model::Gpt model(s.model);
  model.initialise(7);
  model.find("tok_emb.weight")->value()[*rare * 32] = num::float_of(num::kInfinityBits);
  optim::Optimizer optimizer(s.optimizer, model);
  Progress progress;
  progress.seed = 7;
  const std::string folder = t.folder / "state", checkpoint = checkpoint_path(folder);
  std::filesystem::create_directories(folder);
  ASSERT_TRUE(write_state(checkpoint, s.config_sha256, model, optimizer, progress));
  const auto before = sha256_file(checkpoint);
  auto alone =
      train(s, t.files(), nullptr, quiet_training(kernels::cpu_executor(), folder), *comm::single_process(), nullptr);
  ASSERT_FALSE(alone);
  for (bool simulated : {false, true}) {
    const auto outcomes = on_ranks(t, 2, simulated, quiet_training(kernels::cpu_executor(), folder));
    EXPECT_EQ(outcomes[0].error, "step 1: rank 0: stopped because another rank met an error");
    EXPECT_EQ(outcomes[1].error, alone.error().message());
    for (const Outcome& o : outcomes) {
      EXPECT_EQ(o.exit_code, 65);
      EXPECT_EQ(o.found, "");
    }
  }
  EXPECT_EQ(*sha256_file(checkpoint), *before);
}

TEST(DeviceRanks, ARankThatIsLostInABackwardPassStopsAllAndTheLastCheckpointGoesOn) {
  for (bool simulated : {false, true}) {
    TinySubmission t(short_config());
    const std::string folder = t.folder / "state";
    // The count of a step's sums, from a run of one step.
    TrainOptions one = quiet_training(kernels::cpu_executor());
    one.stop_step = 1;
    const int64_t per_step = on_ranks(t, 2, false, one)[0].sums;
    const auto outcomes =
        on_ranks(t, 2, simulated, quiet_training(kernels::cpu_executor(), folder), per_step + per_step / 2);
    for (const Outcome& o : outcomes) EXPECT_EQ(o.error, "a rank was lost");
    auto rest = train(t.load(), t.files(), nullptr, quiet_training(kernels::cpu_executor(), folder),
                      *comm::single_process(), nullptr);
    ASSERT_TRUE(rest) << rest.error().message();
    EXPECT_EQ(rest->progress.commitments, of_one_process(t));
  }
}

}  // namespace
}  // namespace fairway::train

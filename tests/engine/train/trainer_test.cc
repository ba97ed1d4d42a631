#include "engine/train/trainer.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cmath>
#include <optional>

#include "tests/kernels/support.h"
#include "tests/support/thread_communicator.h"
#include "tests/support/tiny_submission.h"

namespace fairway::train {
namespace {

using test::replaced;
using test::slurp;
using test::TinySubmission;

TrainOptions quiet(const std::string& state_dir = "") {
  TrainOptions o;
  o.seed = 7;
  o.state_dir = state_dir;
  o.show_progress = false;
  return o;
}

Result<Trained> run(const TinySubmission& t, const TrainOptions& options) {
  const auto s = t.load();
  return train(s, t.files(), nullptr, options, *comm::single_process(), nullptr);
}

std::vector<Commitment> commitments(const TinySubmission& t, const TrainOptions& options = quiet()) {
  auto trained = run(t, options);
  EXPECT_TRUE(trained) << trained.error().message();
  return trained ? trained->progress.commitments : std::vector<Commitment>();
}

/// The tiny submission trained as the banked systems are: clipping per worker, Parallel Muon, decay, averages, late quantisation.
std::string banked_config() {
  std::string text = replaced(test::kTinyConfig, "matrix_lr = 0.04",
                              "matrix_lr = 0.04\nmuon = \"parallel\"\nmuon_wd = 0.04\nadam_wd = 0.04\ngrad_clip_norm = 0.3\n"
                              "clip_scope = \"worker\"\nprojections = \"adam\"");
  text = replaced(text, "width = 32",
                  "width = 32\nbigram_buckets = 50\nbigram_dim = 8\nsmear_gate = \"blend\"\nvalue_residual = true\ngated_attention = true\n"
                  "xsa_last_n = 1\nmlp_slope = 0.5\nmatrix_init = \"orthogonal_banks\"");
  text = replaced(text, "[schedule]",
                  "[averages]\nema_decay = 0.8\nsnapshot_every = 2\nsnapshot_below = 0.8\nsnapshots_of = \"ema\"\n"
                  "final_weights = \"ema\"\n\n[schedule]");
  return replaced(text, "codec = ", "qat = \"int6_row_max\"\nqat_below = 0.6\ncodec = ");
}

/// Commitments of every rank that trains.
std::vector<std::vector<Commitment>> commitments_on_ranks(const TinySubmission& t, int size) {
  const auto s = t.load();
  std::vector<std::vector<Commitment>> found(static_cast<size_t>(size));
  test::on_ranks(size, [&](comm::Communicator& c) {
    auto trained = train(s, t.files(), nullptr, quiet(), c, nullptr);
    if (trained) found[static_cast<size_t>(c.rank())] = trained->progress.commitments;
  });
  return found;
}

TEST(BankedTraining, AnyNumberOfRanksEndsWithTheSameCommitments) {
  TinySubmission t(banked_config());
  const auto expected = commitments(t);
  ASSERT_EQ(expected.size(), 4u);
  for (int size : {2, 4}) {
    for (const auto& f : commitments_on_ranks(t, size)) EXPECT_EQ(f, expected) << size;
  }
}

TEST(BankedTraining, ResumesWithItsAverages) {
  TinySubmission t(banked_config());
  const auto whole = commitments(t, quiet(t.folder / "whole"));
  TrainOptions part = quiet(t.folder / "parts");
  part.stop_step = 7;
  ASSERT_TRUE(run(t, part));
  EXPECT_EQ(commitments(t, quiet(t.folder / "parts")), whole);
}

TEST(BankedTraining, EveryPartOfItMatters) {
  const std::string text = banked_config();
  const auto expected = commitments(TinySubmission(text)).back();
  for (auto [from, to] : {std::pair{"clip_scope = \"worker\"", "clip_scope = \"global\""}, {"muon = \"parallel\"", "muon = \"standard\""},
                          {"muon_wd = 0.04", "muon_wd = 0.0"}, {"adam_wd = 0.04", "adam_wd = 0.0"}, {"ema_decay = 0.8", "ema_decay = 0.7"},
                          {"snapshot_below = 0.8", "snapshot_below = 0.1"}, {"qat_below = 0.6", "qat_below = 0.1"},
                          {"qat_below = 0.6", "qat_below = 0.6\nqat_from = 7"}, {"int6_row_max", "int8_row"},
                          {"projections = \"adam\"", "projections = \"muon\""}}) {
    EXPECT_NE(commitments(TinySubmission(replaced(text, from, to))).back().root, expected.root) << to;
  }
}

TEST(BankedTraining, EndsWithTheMovingAverageOfItsWeights) {
  const std::string ema = banked_config();
  TinySubmission averaged(ema), last(replaced(ema, "final_weights = \"ema\"", "final_weights = \"last\""));
  auto a = run(averaged, quiet()), l = run(last, quiet());
  ASSERT_TRUE(a && l);
  // The state that is committed is that of the weights as trained; what is exported differs.
  EXPECT_EQ(a->progress.commitments, l->progress.commitments);
  const auto &aw = a->model->find("blocks.0.attn.c_q.weight")->values(), &lw = l->model->find("blocks.0.attn.c_q.weight")->values();
  EXPECT_FALSE(std::equal(aw.begin(), aw.end(), lw.begin()));
}

TEST(Training, CommitsAtEveryMultipleAndAtTheEnd) {
  TinySubmission t(replaced(test::kTinyConfig, "commit_every = 2", "commit_every = 3"));
  std::vector<int64_t> steps;
  for (const Commitment& c : commitments(t)) steps.push_back(c.step);
  EXPECT_EQ(steps, (std::vector<int64_t>{3, 6, 8}));
}

TEST(Training, LearnsAndRecordsTheSchedule) {
  // One token follows another: a loss the model can bring down.
  TinySubmission t(replaced(replaced(test::kTinyConfig, "iterations = 8", "iterations = 30"), "warmdown_iters = 4", "warmdown_iters = 10"));
  std::vector<uint16_t> tokens(3000);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<uint16_t>(i * 7 % 96);
  std::filesystem::remove_all(t.folder / "shards");
  std::filesystem::create_directories(t.folder / "shards");
  data::ShardWriter writer(t.folder / "shards", "tiny_train");
  ASSERT_TRUE(writer.append(tokens));
  ASSERT_TRUE(writer.finish());
  const auto s = t.load();
  DataFiles files;
  files.train_paths = *data::list_shards(t.folder / "shards", "tiny_train");
  auto trained = train(s, files, nullptr, quiet(), *comm::single_process(), nullptr);
  ASSERT_TRUE(trained) << trained.error().message();
  EXPECT_LT(trained->last_train_loss, 3.0);
  ASSERT_EQ(trained->progress.multipliers.size(), 30u);
  for (int64_t k = 0; k < 30; ++k) {
    EXPECT_EQ(trained->progress.multipliers[static_cast<size_t>(k)], optim::multiplier_by_steps(s.schedule, k));
  }
}

TEST(Training, TheSeedDecidesAndTwoRunsAgree) {
  TinySubmission t;
  const auto first = commitments(t);
  EXPECT_EQ(commitments(t), first);
  TrainOptions other = quiet();
  other.seed = 8;
  EXPECT_NE(commitments(t, other).back(), first.back());
}

TEST(Training, ThreadsAndInstructionSetsChangeNoCommitment) {
  TinySubmission t;
  const auto expected = commitments(t);
  test::Machine restore;
  for (kernels::Isa isa : test::available_sets()) {
    kernels::set_isa(isa);
    for (int threads : {1, 2, 4}) {
      kernels::set_thread_count(threads);
      EXPECT_EQ(commitments(t), expected) << kernels::isa_name(isa) << " " << threads;
    }
  }
}

TEST(Training, RanksEndWithTheSameCommitments) {
  TinySubmission t;
  const auto expected = commitments(t);
  const auto s = t.load();
  for (int size : {1, 2, 4}) {
    std::vector<std::vector<Commitment>> found(static_cast<size_t>(size));
    std::vector<double> losses(static_cast<size_t>(size));
    test::on_ranks(size, [&](comm::Communicator& c) {
      auto trained = train(s, t.files(), nullptr, quiet(), c, nullptr);
      if (!trained) return;
      found[static_cast<size_t>(c.rank())] = trained->progress.commitments;
      losses[static_cast<size_t>(c.rank())] = trained->last_train_loss;
    });
    for (const auto& f : found) EXPECT_EQ(f, expected) << size;
    for (double loss : losses) EXPECT_EQ(loss, losses[0]);
  }
}

TEST(Training, RanksThatDoNotDivideTheChunksAreRefused) {
  TinySubmission t;
  const auto s = t.load();
  std::vector<std::string> messages(3);
  test::on_ranks(3, [&](comm::Communicator& c) {
    auto trained = train(s, t.files(), nullptr, quiet(), c, nullptr);
    messages[static_cast<size_t>(c.rank())] = trained ? "" : trained.error().message();
  });
  for (const auto& m : messages) EXPECT_EQ(m, "mpirun -np: 3 ranks do not divide the 4 chunks of a step");
}

TEST(Training, OneChunkOfTheWholeStepIsAnotherDefinition) {
  // The chunk is part of the definition: its products round, so another chunk size gives other bits, and says so by its config.
  TinySubmission t, whole(replaced(test::kTinyConfig, "grad_chunk_tokens = 64", "grad_chunk_tokens = 256"));
  EXPECT_NE(commitments(t).back(), commitments(whole).back());
}

TEST(Resuming, FromACheckpointGivesTheStatesOfTheWholeRun) {
  TinySubmission t;
  const auto whole = commitments(t, quiet(t.folder / "whole"));
  // Stopped after step 4 with the checkpoint of step 3 on disk, as a kill would leave it; then after 6; then to the end.
  for (int64_t stop : {4, 6}) {
    TrainOptions part = quiet(t.folder / "parts");
    part.stop_step = stop;
    ASSERT_TRUE(run(t, part));
  }
  EXPECT_EQ(commitments(t, quiet(t.folder / "parts")), whole);
  auto again = run(t, quiet(t.folder / "parts"));
  ASSERT_TRUE(again);
  EXPECT_EQ(again->progress.completed_steps, 8);
}

TEST(Resuming, IsLeftOutOnRequest) {
  TinySubmission t;
  const auto whole = commitments(t);
  TrainOptions part = quiet(t.folder / "state");
  part.stop_step = 6;
  ASSERT_TRUE(run(t, part));
  test::spill(t.folder / "state/checkpoint.state", "rubbish");
  part = quiet(t.folder / "state");
  part.resume = false;
  EXPECT_EQ(commitments(t, part), whole);
}

TEST(Resuming, RanksReadTheCheckpointOfOneProcess) {
  TinySubmission t;
  const auto whole = commitments(t);
  TrainOptions part = quiet(t.folder / "state");
  part.stop_step = 4;
  ASSERT_TRUE(run(t, part));
  const auto s = t.load();
  std::vector<std::vector<Commitment>> found(2);
  test::on_ranks(2, [&](comm::Communicator& c) {
    auto trained = train(s, t.files(), nullptr, quiet(t.folder / "state"), c, nullptr);
    if (trained) found[static_cast<size_t>(c.rank())] = trained->progress.commitments;
  });
  EXPECT_EQ(found[0], whole);
  EXPECT_EQ(found[1], whole);
}

TEST(Resuming, ADamagedCheckpointIsAnErrorOnEveryRank) {
  TinySubmission t;
  std::filesystem::create_directories(t.folder / "state");
  test::spill(t.folder / "state/checkpoint.state", std::string(100, 'x'));
  const auto s = t.load();
  std::vector<std::string> messages(2);
  test::on_ranks(2, [&](comm::Communicator& c) {
    auto trained = train(s, t.files(), nullptr, quiet(t.folder / "state"), c, nullptr);
    messages[static_cast<size_t>(c.rank())] = trained ? "" : trained.error().message();
  });
  for (const auto& m : messages) EXPECT_NE(m.find("checkpoint.state: not a state file"), std::string::npos) << m;
}

class KeptStates : public ::testing::Test {
 protected:
  KeptStates() : t(std::string(test::kTinyConfig) + "keep_states = true\n") { whole = commitments(t, quiet(t.folder / "state")); }
  std::string state(int64_t step) { return t.folder / ("state/step_0000000" + std::to_string(step) + ".state"); }
  TinySubmission t;
  std::vector<Commitment> whole;
};

TEST_F(KeptStates, ASegmentRunAgainEndsInItsCommitment) {
  TrainOptions segment = quiet();
  segment.start_state = state(4);
  segment.stop_step = 6;
  segment.start_root = whole[1].root;
  const auto found = commitments(t, segment);
  EXPECT_EQ(found.back(), whole[2]);
}

TEST_F(KeptStates, AStateOtherThanTheCommittedOneIsRefused) {
  TrainOptions segment = quiet();
  segment.start_state = state(4);
  segment.stop_step = 6;
  segment.start_root = whole[0].root;
  auto trained = run(t, segment);
  ASSERT_FALSE(trained);
  EXPECT_EQ(trained.error().message(), state(4) + ": this state is not the one the record committed to");
}

TEST_F(KeptStates, OtherWeightsInTheStateGiveAnotherCommitment) {
  // A file with a valid digest but other weights: what a forger would write.
  const auto s = t.load();
  model::Gpt m(s.model);
  optim::Optimizer o(s.optimizer, m);
  auto progress = read_state(state(4), s.config_sha256, 7, m, o);
  ASSERT_TRUE(progress);
  m.find("blocks.1.attn_scale")->value()[0] += 0x1p-20f;
  ASSERT_TRUE(write_state(state(4), s.config_sha256, m, o, *progress));
  TrainOptions segment = quiet();
  segment.start_state = state(4);
  segment.stop_step = 6;
  EXPECT_NE(commitments(t, segment).back(), whole[2]);
  segment.start_root = whole[1].root;
  EXPECT_FALSE(run(t, segment));
}

TEST(ReplayMultipliers, AreUsedInsteadOfTheSchedule) {
  TinySubmission t;
  std::vector<double> multipliers = {1.0, 0.5, 0.25};
  TrainOptions o = quiet();
  o.replay_multipliers = &multipliers;
  auto trained = run(t, o);
  ASSERT_TRUE(trained);
  EXPECT_EQ(trained->progress.completed_steps, 3);
  EXPECT_EQ(trained->progress.multipliers, multipliers);
  const auto first = trained->progress.commitments;
  multipliers[1] = std::nextafter(0.5, 1.0);
  // One unit of binary64 vanishes in the rounding to binary32; one of binary32 does not.
  multipliers[2] = 0.25 + 0x1p-24;
  auto other = run(t, o);
  ASSERT_TRUE(other);
  EXPECT_EQ(other->progress.commitments[0], first[0]);
  EXPECT_NE(other->progress.commitments.back(), first.back());
}

TEST(ReplayMultipliers, FewerThanTheStepsAskedForAreAnError) {
  TinySubmission t;
  const std::vector<double> multipliers = {1.0, 1.0};
  TrainOptions o = quiet();
  o.replay_multipliers = &multipliers;
  o.stop_step = 3;
  auto trained = run(t, o);
  ASSERT_FALSE(trained);
  EXPECT_EQ(trained.error().message(), "schedule: step 3 was asked for, but only 2 multipliers are recorded");
}

TEST(Wallclock, ARecordedRunReplaysToTheSameCommitments) {
  const std::string config = replaced(replaced(test::kTinyConfig, "kind = \"steps\"", "kind = \"wallclock\"\nmax_wallclock_seconds = 0.15"),
                                      "iterations = 8\nwarmdown_iters = 4", "iterations = 100000\nwarmdown_iters = 1000");
  TinySubmission t(config);
  auto trained = run(t, quiet());
  ASSERT_TRUE(trained) << trained.error().message();
  const auto& multipliers = trained->progress.multipliers;
  ASSERT_EQ(multipliers.size(), static_cast<size_t>(trained->progress.completed_steps));
  EXPECT_EQ(multipliers.front(), 1.0);
  EXPECT_LT(trained->progress.completed_steps, 100000);
  EXPECT_EQ(trained->progress.commitments.back().step, trained->progress.completed_steps);
  TrainOptions replay = quiet();
  replay.replay_multipliers = &multipliers;
  EXPECT_EQ(commitments(t, replay), trained->progress.commitments);
}

TEST(Errors, ANotFiniteWeightNamesStepAndTensorAndLeavesTheCheckpoint) {
  TinySubmission t;
  const auto s = t.load();
  TrainOptions part = quiet(t.folder / "state");
  part.stop_step = 4;
  ASSERT_TRUE(run(t, part));
  model::Gpt m(s.model);
  optim::Optimizer o(s.optimizer, m);
  const std::string path = t.folder / "state/checkpoint.state";
  auto progress = read_state(path, s.config_sha256, 7, m, o);
  ASSERT_TRUE(progress);
  EXPECT_EQ(progress->completed_steps, 3);
  m.find("blocks.1.mlp.fc.weight")->value()[5] = NAN;
  ASSERT_TRUE(write_state(path, s.config_sha256, m, o, *progress));
  const std::string before = slurp(path);
  auto trained = run(t, quiet(t.folder / "state"));
  ASSERT_FALSE(trained);
  EXPECT_EQ(trained.error().code, Errc::kData);
  EXPECT_EQ(trained.error().where, "step 4: blocks.1.mlp.fc.weight");
  EXPECT_EQ(slurp(path), before);
}

TEST(Errors, AnErrorOfOneRankStopsAll) {
  TinySubmission t, damaged;
  const std::string shard = damaged.folder / "shards/tiny_train_000000.bin";
  std::string bytes = slurp(shard);
  bytes[1024 + 2 * 300] = 96;
  bytes[1024 + 2 * 300 + 1] = 0;
  test::spill(shard, bytes);
  const auto s = t.load();
  std::vector<std::string> messages(2);
  test::on_ranks(2, [&](comm::Communicator& c) {
    // Rank 1 reads another disk, and that one is damaged.
    auto trained = train(s, c.is_root() ? t.files() : damaged.files(), nullptr, quiet(), c, nullptr);
    messages[static_cast<size_t>(c.rank())] = trained ? "" : trained.error().message();
  });
  EXPECT_EQ(messages[0], "step 2: rank 0: stopped because another rank met an error");
  EXPECT_TRUE(messages[1].starts_with("step 2: " + shard + " @ 0x658")) << messages[1];
}

TEST(Errors, AnExplodingLearningRateStopsWithStepAndTensor) {
  TinySubmission t(replaced(test::kTinyConfig, "scalar_lr = 0.04", "scalar_lr = 10.0"));
  std::vector<double> multipliers(8, 1e38);
  TrainOptions o = quiet(t.folder / "state");
  o.replay_multipliers = &multipliers;
  auto trained = run(t, o);
  ASSERT_FALSE(trained);
  EXPECT_EQ(trained.error().code, Errc::kData);
  EXPECT_EQ(trained.error().where, "step 1: skip_weights");
  EXPECT_TRUE(t.folder.files().size() > 0 && !std::filesystem::exists(t.folder / "state/checkpoint.state"));
}

TEST(Errors, ATokenBeyondTheVocabularyNamesStepFileAndOffset) {
  TinySubmission t;
  const std::string shard = t.folder / "shards/tiny_train_000000.bin";
  std::string bytes = slurp(shard);
  bytes[1024 + 2 * 300] = 96;
  bytes[1024 + 2 * 300 + 1] = 0;
  test::spill(shard, bytes);
  auto trained = run(t, quiet());
  ASSERT_FALSE(trained);
  // Tokens 0 .. 259 are those of step 1, so step 2 meets number 300.
  EXPECT_TRUE(trained.error().where.starts_with("step 2: " + shard + " @ 0x658")) << trained.error().message();
  EXPECT_EQ(trained.error().code, Errc::kData);
}

TEST(Log, AFullDiskUnderTheLogStopsEveryRank) {
  TinySubmission t;
  const auto s = t.load();
  class Full : public FileSystem {
   public:
    ssize_t write(int, const void*, size_t) override {
      errno = ENOSPC;
      return -1;
    }
  };
  Full system;
  std::vector<int> codes(2);
  test::on_ranks(2, [&](comm::Communicator& c) {
    std::optional<RunLog> log;
    if (c.is_root()) {
      auto opened = RunLog::open(t.folder / "log", RunLog::Existing::kReplace, RunLog::Echo::kNo, system);
      if (opened) log.emplace(std::move(*opened));
    }
    auto trained = train(s, t.files(), nullptr, quiet(), c, log ? &*log : nullptr);
    codes[static_cast<size_t>(c.rank())] = trained ? 0 : trained.error().exit_code();
  });
  EXPECT_EQ(codes, (std::vector<int>{74, 74}));
}

}  // namespace
}  // namespace fairway::train

// From training to scores through the executor of a device, on a simulated grid: the CPU's record, artifact and scores.
#include <gtest/gtest.h>

#include "engine/replay/calibration.h"
#include "engine/replay/pipeline.h"
#include "tests/engine/model/small_model.h"
#include "tests/kernels/cuda/device_fixture.h"
#include "tests/support/tiny_submission.h"

namespace fairway::replay {
namespace {

using test::replaced;
using test::SimulatedExecutor;
using test::slurp;

TEST(DeviceCalibration, HessiansAndDrawnSequencesAreThoseOfTheCpu) {
  SimulatedExecutor executor(uint64_t{3});
  model::Gpt model(test::small_config(2));
  model.initialise(5);
  test::perturb(model, 11);
  const std::vector<std::string> wanted = {"blocks.0.attn.c_q.weight", "blocks.0.attn.c_k.weight",
                                           "blocks.1.mlp.proj.weight", "tok_emb.weight"};
  const auto hessians = [&] {
    auto tokens = draw_sequences(model, 2, 6, 42);
    EXPECT_TRUE(tokens);
    auto found = collect_hessians(model, *tokens, 6, wanted);
    EXPECT_TRUE(found);
    std::vector<std::pair<std::vector<uint16_t>, std::vector<double>>> list;
    for (auto& [name, h] : *found) list.emplace_back(*tokens, h.values);
    EXPECT_EQ(list.size(), wanted.size());
    return list;
  };
  const auto expected = hessians();
  ASSERT_TRUE(model.use(executor));
  EXPECT_TRUE(hessians() == expected);
  EXPECT_EQ(executor.queue().problem(), "");
  EXPECT_GT(executor.queue().launches(), 100);
}

/// Packing and an evaluation that learns follow the training.
TEST(DevicePipeline, WritesTheRecordOfTheCpu) {
  std::string text = replaced(test::kTinyConfig, "vocab_size = 96", "vocab_size = 1024");
  text = replaced(text, "iterations = 8", "iterations = 1");
  text = replaced(text, "warmdown_iters = 4", "warmdown_iters = 1");
  text = replaced(text, "batch_tokens = 256", "batch_tokens = 32");
  text = replaced(text, "grad_chunk_tokens = 64", "grad_chunk_tokens = 32");
  text = replaced(text, "virtual_workers = 4", "virtual_workers = 1");
  text = replaced(text, "method = \"sliding_b\"\nstride = 5\n",
                  "procedure = \"score_first_ttt\"\nttt = { chunk_tokens = 192, grad_chunk_tokens = 32, epochs = 1, "
                  "batch_rows = 2 }\n");
  test::TinySubmission t(text);
  std::filesystem::copy_file(FAIRWAY_SOURCE_DIR "/submissions/corpus/fairway_1024_bpe.model",
                             t.folder / "tokenizer.model");
  const auto s = t.load();
  SimulatedExecutor executor(uint64_t{3});
  std::vector<std::string> identities;
  for (kernels::Executor* e : {&kernels::cpu_executor(), static_cast<kernels::Executor*>(&executor)}) {
    RunOptions o;
    o.seed = 7;
    o.out_dir = t.folder / ("run" + std::to_string(identities.size()));
    o.echo = o.show_progress = false;
    o.executor = e;
    o.device = e == &executor ? "simulated" : "cpu";
    auto files = train::open_data(s, true);
    ASSERT_TRUE(files);
    auto validation = train::open_validation(s, *files);
    ASSERT_TRUE(validation);
    auto record = run_seed(s, *files, *validation, o, *comm::single_process());
    ASSERT_TRUE(record) << record.error().message();
    identities.push_back(identity_text(record->identity));
  }
  EXPECT_EQ(identities[0], identities[1]);
  for (const std::string file : {"/model.zlib", "/scores.f32", "/trace.bin"})
    EXPECT_EQ(slurp(t.folder / "run0" + file), slurp(t.folder / "run1" + file)) << file;
  EXPECT_NE(slurp(t.folder / "run1/train.log").find("device:simulated\n"), std::string::npos);
  EXPECT_EQ(executor.queue().problem(), "");
  EXPECT_GT(executor.queue().launches(), 100);
}

TEST(Calibration, WithNothingToCalibrateIsAnErrorThatNamesTheKey) {
  test::TinySubmission t(replaced(test::kTinyConfig, "scheme = \"int8\"",
                                  "scheme = \"int8\"\nrounded_scale = true\ncalibration = \"train\""));
  const auto s = t.load();
  model::Gpt model(s.model);
  auto found = calibrate(model, s, t.files().train_paths);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().exit_code(), 65);
  EXPECT_EQ(found.error().where, "quantization.calibration");
}

}  // namespace
}  // namespace fairway::replay

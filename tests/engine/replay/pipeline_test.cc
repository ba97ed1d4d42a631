/// One seed from shards to replay.json, with ranks and interruptions.
#include "engine/replay/pipeline.h"

#include <gtest/gtest.h>

#include "tests/support/thread_communicator.h"
#include "tests/support/tiny_submission.h"

namespace fairway::replay {
namespace {

using test::replaced;
using test::slurp;

class Pipeline : public ::testing::Test {
 protected:
  Pipeline() : t(replaced(test::kTinyConfig, "vocab_size = 96", "vocab_size = 1024")) {
    std::filesystem::copy_file(FAIRWAY_SOURCE_DIR "/submissions/corpus/fairway_1024_bpe.model", t.folder / "tokenizer.model");
    s = t.load();
  }
  RunOptions options(const std::string& out) {
    RunOptions o;
    o.seed = 7;
    o.out_dir = t.folder / out;
    o.echo = false;
    o.show_progress = false;
    return o;
  }
  Result<Record> run(const RunOptions& o, comm::Communicator& c) {
    FAIRWAY_ASSIGN(auto files, train::open_data(s, true));
    FAIRWAY_ASSIGN(auto validation, train::open_validation(s, files));
    return run_seed(s, files, validation, o, c);
  }
  test::TinySubmission t;
  submission::Submission s;
};

TEST_F(Pipeline, WritesARecordThatReadsBackAndScoresThatMatchIt) {
  const auto record = run(options("out"), *comm::single_process());
  ASSERT_TRUE(record) << record.error().message();
  const auto loaded = read_record(t.folder / "out");
  ASSERT_TRUE(loaded) << loaded.error().message();
  EXPECT_EQ(identity_text(loaded->record.identity), identity_text(record->identity));
  const std::string scores = slurp(t.folder / "out/scores.f32");
  EXPECT_EQ(scores.size(), record->identity.eval_tokens * 4);
  EXPECT_EQ(sha256(std::string_view(scores)), record->identity.scores_sha256);
  const std::string artifact = slurp(t.folder / "out/model.zlib");
  EXPECT_EQ(hex(sha256(std::string_view(artifact))), loaded->record.informative.at("artifact_sha256"));
  EXPECT_EQ(loaded->record.informative.at("total_bytes"), std::to_string(artifact.size() + s.config_text.size()));
}

TEST_F(Pipeline, TheLogSaysWhetherTheHeadIsTied) {
  ASSERT_TRUE(run(options("tied"), *comm::single_process()));
  EXPECT_NE(slurp(t.folder / "tied/train.log").find("tie_embeddings:True embed_lr:0.05 head_lr:0.0 matrix_lr:0.04 scalar_lr:0.04\n"), std::string::npos);
  t.text = replaced(replaced(t.text, "vocab_size", "tied_head = false\nvocab_size"), "scalar_lr", "head_lr = 0.02\nscalar_lr");
  s = t.load();
  ASSERT_TRUE(run(options("untied"), *comm::single_process()));
  EXPECT_NE(slurp(t.folder / "untied/train.log").find("tie_embeddings:False embed_lr:0.05 head_lr:0.02 matrix_lr:0.04"), std::string::npos);
}

TEST_F(Pipeline, RanksWriteTheSameIdentityAsOneProcess) {
  const auto alone = run(options("alone"), *comm::single_process());
  ASSERT_TRUE(alone) << alone.error().message();
  for (int size : {2, 4}) {
    std::vector<std::string> texts(static_cast<size_t>(size));
    const std::string out = "ranks" + std::to_string(size);
    test::on_ranks(size, [&](comm::Communicator& c) {
      const auto r = run(options(out), c);
      texts[static_cast<size_t>(c.rank())] = r ? identity_text(r->identity) : r.error().message();
    });
    for (const std::string& text : texts) EXPECT_EQ(text, identity_text(alone->identity));
    EXPECT_EQ(slurp(t.folder / out + "/scores.f32"), slurp(t.folder / "alone/scores.f32"));
  }
}

/// An evaluation that learns goes through the stream once on every rank, and all of them come to the same scores.
TEST_F(Pipeline, RanksScoreTheSameWithEvaluationsThatLearn) {
  const std::string sgd = "ttt = { chunk_tokens = 32, grad_chunk_tokens = 16, epochs = 1 }\n", lora = "lora = { chunk_tokens = 8 }\n";
  const std::pair<std::string, std::string> procedures[] = {
      {"score_first_ttt", sgd}, {"lora_ttt", lora}, {"phased_ttt", sgd + lora}, {"neural_cache", ""}, {"ngram", ""}};
  const std::string plain = t.text;
  for (const auto& [name, tables] : procedures) {
    t.text = replaced(plain, "method = \"sliding_b\"\nstride = 5\n", "procedure = \"" + name + "\"\n" + tables);
    s = t.load();
    const auto alone = run(options(name), *comm::single_process());
    ASSERT_TRUE(alone) << name << ": " << alone.error().message();
    std::vector<std::string> texts(2);
    test::on_ranks(2, [&](comm::Communicator& c) {
      const auto r = run(options(name + "-ranks"), c);
      texts[static_cast<size_t>(c.rank())] = r ? identity_text(r->identity) : r.error().message();
    });
    for (const std::string& text : texts) EXPECT_EQ(text, identity_text(alone->identity)) << name;
    EXPECT_EQ(slurp(t.folder / (name + "-ranks/scores.f32")), slurp(t.folder / (name + "/scores.f32"))) << name;
  }
}

TEST_F(Pipeline, AnOutFolderThatCannotBeMadeStopsEveryRank) {
  test::spill(t.folder / "file", "");
  std::vector<int> failed(2);
  test::on_ranks(2, [&](comm::Communicator& c) { failed[static_cast<size_t>(c.rank())] = run(options("file/out"), c) ? 0 : 1; });
  EXPECT_EQ(failed, (std::vector<int>{1, 1}));
}

TEST_F(Pipeline, AScoresFileThatCannotBeMadeStopsEveryRank) {
  std::vector<int> failed(2);
  test::on_ranks(2, [&](comm::Communicator& c) {
    auto files = train::open_data(s, false);
    auto validation = train::open_validation(s, *files);
    model::Gpt m(s.model);
    m.initialise(1);
    failed[static_cast<size_t>(c.rank())] = score(m, s, *validation, {.scores = t.folder / "absent/scores.f32"}, false, c) ? 0 : 1;
  });
  EXPECT_EQ(failed, (std::vector<int>{1, 1}));
}

TEST_F(Pipeline, ATokenizerOfAnotherSizeIsRefused) {
  s.model.vocab_size = 1000;
  const auto files = train::open_data(s, false);
  ASSERT_TRUE(files);
  const auto validation = train::open_validation(s, *files);
  ASSERT_FALSE(validation);
  EXPECT_EQ(validation.error().code, Errc::kData);
  EXPECT_NE(validation.error().message().find("has 1024 pieces, model.vocab_size is 1000"), std::string::npos);
}

}  // namespace
}  // namespace fairway::replay

#include "engine/data/tokenize.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "engine/data/tokenizer.h"
#include "tests/engine/data/fixtures.h"

namespace fairway::data {
namespace {

using test::slurp;
using test::spill;
using test::TemporaryDirectory;

// A small model trained on the spot, so these tests run without the published ones.
class TokenizeCorpus : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    models_ = new TemporaryDirectory;
    std::string text;
    for (int i = 0; i < 300; ++i) {
      text += "ship " + std::to_string(i * 7919) + " passes light " + std::to_string(i) + " at slack water in fog\n";
    }
    spill(*models_ / "text", text);
    const std::vector<std::string> files = {*models_ / "text"};
    const Status status = train_tokenizer(files, DocumentFormat::lines(), 300, *models_ / "m");
    ASSERT_TRUE(status) << status.error().message();
  }
  static void TearDownTestSuite() {
    delete models_;
    models_ = nullptr;
  }

  static std::string model() { return *models_ / "m.model"; }

  Result<TokenizeCounts> run(const std::string& text, const TokenizeOptions& options,
                             FileSystem& system = FileSystem::real()) {
    spill(directory_ / "in", text);
    return tokenize_corpus(directory_ / "in", model(), directory_ / "out", options, system);
  }

  // [BOS] + encode(text) of each document, one after the other.
  static std::vector<uint16_t> tokens_of(const std::vector<std::string>& documents) {
    const auto tokenizer = Tokenizer::load(model());
    std::vector<uint16_t> tokens;
    for (const std::string& text : documents) {
      tokens.push_back(tokenizer->bos_id());
      const auto ids = tokenizer->encode(text);
      tokens.insert(tokens.end(), ids->begin(), ids->end());
    }
    return tokens;
  }

  std::vector<uint16_t> written(const std::string& stem) {
    std::vector<uint16_t> tokens;
    const auto paths = list_shards(directory_ / "out", stem);
    EXPECT_TRUE(paths) << paths.error().message();
    const auto shards = open_shards(*paths, 300);
    EXPECT_TRUE(shards) << shards.error().message();
    for (const Shard& shard : *shards) {
      std::vector<uint16_t> part(static_cast<size_t>(shard.token_count()));
      EXPECT_TRUE(shard.read(0, part));
      tokens.insert(tokens.end(), part.begin(), part.end());
    }
    return tokens;
  }

  void expect_untouched() {
    EXPECT_EQ(directory_.files(), std::vector<std::string>{"in"});
    EXPECT_FALSE(std::filesystem::exists(directory_ / "out"));
  }

  TemporaryDirectory directory_;

 private:
  static TemporaryDirectory* models_;
};

TemporaryDirectory* TokenizeCorpus::models_ = nullptr;

const std::string kThree = "{\"text\":\"ship one\"}\n{\"text\":\"slack water\"}\n{\"text\":\"light in fog\"}\n";

TEST_F(TokenizeCorpus, FirstDocumentsBecomeValidationAndTheRestTraining) {
  const auto counts = run(kThree, {.format = DocumentFormat::jsonl(), .prefix = "fineweb", .val_documents = 1});
  ASSERT_TRUE(counts) << counts.error().message();
  EXPECT_EQ(written("fineweb_val"), tokens_of({"ship one"}));
  EXPECT_EQ(written("fineweb_train"), tokens_of({"slack water", "light in fog"}));
  EXPECT_EQ(directory_.files(),
            (std::vector<std::string>{"in", "out/fineweb_train_000000.bin", "out/fineweb_val_000000.bin"}));
  EXPECT_EQ(counts->val.documents, 1);
  EXPECT_EQ(counts->val.bytes, 8u);
  EXPECT_EQ(counts->train.documents, 2);
  EXPECT_EQ(counts->train.tokens, static_cast<int64_t>(tokens_of({"slack water", "light in fog"}).size()));
  EXPECT_EQ(counts->train.bytes, 11u + 12u);
}

TEST_F(TokenizeCorpus, AFractionIsRoundedDownButNeverToZero) {
  for (const auto& [fraction, documents] : {std::pair{0.01, 1}, {0.34, 1}, {0.67, 2}, {0.99, 2}}) {
    const auto counts = run(kThree, {.format = DocumentFormat::jsonl(), .val_fraction = fraction});
    ASSERT_TRUE(counts) << counts.error().message();
    EXPECT_EQ(counts->val.documents, documents) << fraction;
    std::filesystem::remove_all(directory_ / "out");
  }
}

TEST_F(TokenizeCorpus, ASingleDocumentIsCutByTokensAndLosesNone) {
  const std::string text = "ship passes light at slack water\nin fog\n";
  const auto counts = run(text, {.val_tokens = 5, .tokens_per_shard = 7});
  ASSERT_TRUE(counts) << counts.error().message();
  std::vector<uint16_t> all = written("corpus_val");
  EXPECT_EQ(all.size(), 5u);
  const auto rest = written("corpus_train");
  all.insert(all.end(), rest.begin(), rest.end());
  EXPECT_EQ(all, tokens_of({text}));
  EXPECT_EQ(counts->val.tokens, 5);
  EXPECT_EQ(counts->val.documents + counts->train.documents, 1);
  EXPECT_EQ(counts->val.bytes + counts->train.bytes, text.size() - 1) << "all but the final newline";
}

TEST_F(TokenizeCorpus, DocumentsAreCutAtASeparator) {
  const auto counts =
      run("ship\n%%\nlight\nfog\n%%\n", {.format = DocumentFormat::separated_by("%%"), .val_documents = 1});
  ASSERT_TRUE(counts) << counts.error().message();
  EXPECT_EQ(written("corpus_val"), tokens_of({"ship"}));
  EXPECT_EQ(written("corpus_train"), tokens_of({"light fog"}));
}

TEST_F(TokenizeCorpus, ContradictoryOptionsAreRefused) {
  const auto code = [&](const TokenizeOptions& options) {
    const auto counts = run(kThree, options);
    return counts ? 0 : counts.error().exit_code();
  };
  const auto jsonl = DocumentFormat::jsonl();
  EXPECT_EQ(code({.format = jsonl}), 64);
  EXPECT_EQ(code({.format = jsonl, .val_documents = 1, .val_tokens = 1}), 64);
  EXPECT_EQ(code({.format = jsonl, .val_documents = 0}), 64);
  EXPECT_EQ(code({.format = jsonl, .val_fraction = 1.0}), 64);
  EXPECT_EQ(code({.format = jsonl, .val_fraction = -0.5}), 64);
  EXPECT_EQ(code({.format = jsonl, .val_tokens = -1}), 64);
  EXPECT_EQ(code({.format = jsonl, .val_documents = 1, .tokens_per_shard = 0}), 64);
  EXPECT_EQ(code({.format = DocumentFormat::separated_by(""), .val_documents = 1}), 64);
  expect_untouched();
}

TEST_F(TokenizeCorpus, NothingLeftToTrainOnIsAnErrorThatSaysHowToCut) {
  const auto counts = run("ship", {.val_documents = 1});
  ASSERT_FALSE(counts);
  EXPECT_EQ(counts.error().code, Errc::kUsage);
  EXPECT_NE(counts.error().what.find("cut by val_tokens"), std::string::npos) << counts.error().message();
  EXPECT_FALSE(run(kThree, {.format = DocumentFormat::jsonl(), .val_documents = 3}));
  EXPECT_FALSE(run("ship", {.val_tokens = 1000}));
  EXPECT_EQ(run("", {.val_tokens = 1}).error().code, Errc::kData);
  expect_untouched();
}

TEST_F(TokenizeCorpus, ABadLineFarInLeavesNothingBehind) {
  std::string text;
  for (int i = 0; i < 50; ++i) text += "{\"text\":\"light " + std::to_string(i) + "\"}\n";
  const auto counts =
      run(text + "{\"text\":", {.format = DocumentFormat::jsonl(), .val_documents = 1, .tokens_per_shard = 10});
  ASSERT_FALSE(counts);
  EXPECT_EQ(counts.error().where, (directory_ / "in") + ":51");
  expect_untouched();
}

// Every call that changes the disk fails once; each time the output is absent, or complete if only the last fsync
// failed.
TEST_F(TokenizeCorpus, AFullDiskAtAnyCallLeavesNothingBehind) {
  class Faulty : public FileSystem {
   public:
    int fail_at = -1;
    int calls = 0;
    ssize_t write(int fd, const void* data, size_t size) override {
      return pass() ? FileSystem::write(fd, data, size) : -1;
    }
    ssize_t pwrite(int fd, const void* data, size_t size, int64_t at) override {
      return pass() ? FileSystem::pwrite(fd, data, size, at) : -1;
    }
    int fsync(int fd) override { return pass() ? FileSystem::fsync(fd) : -1; }
    int rename(const std::string& from, const std::string& to) override {
      return pass() ? FileSystem::rename(from, to) : -1;
    }
    int mkdir(const std::string& path, mode_t mode) override { return pass() ? FileSystem::mkdir(path, mode) : -1; }

   private:
    bool pass() {
      errno = ENOSPC;
      return calls++ != fail_at;
    }
  };
  const TokenizeOptions options = {.format = DocumentFormat::jsonl(), .val_documents = 1, .tokens_per_shard = 10};
  Faulty counting;
  ASSERT_TRUE(run(kThree, options, counting));
  ASSERT_GT(counting.calls, 10);
  const std::vector<std::string> complete = directory_.files();
  for (int fail_at = 0; fail_at < counting.calls; ++fail_at) {
    std::filesystem::remove_all(directory_ / "out");
    Faulty system;
    system.fail_at = fail_at;
    const auto counts = run(kThree, options, system);
    ASSERT_FALSE(counts) << fail_at;
    EXPECT_EQ(counts.error().code, Errc::kIo);
    if (fail_at + 1 == counting.calls) {
      EXPECT_EQ(directory_.files(), complete);
    } else {
      expect_untouched();
    }
  }
}

TEST_F(TokenizeCorpus, AFolderInUseIsRefusedAndKept) {
  std::filesystem::create_directory(directory_ / "out");
  const TokenizeOptions options = {.format = DocumentFormat::jsonl(), .val_documents = 1};
  spill(directory_ / "out/mine", "keep");
  const auto counts = run(kThree, options);
  ASSERT_FALSE(counts);
  EXPECT_EQ(counts.error().message(),
            (directory_ / "out") + ": exists and is not empty; name a new folder for the shards");
  EXPECT_EQ(slurp(directory_ / "out/mine"), "keep");
  std::filesystem::remove(directory_ / "out/mine");
  EXPECT_TRUE(run(kThree, options)) << "an empty folder is fine";
}

TEST_F(TokenizeCorpus, MissingInputsAreNamed) {
  const TokenizeOptions options = {.val_tokens = 1};
  EXPECT_EQ(tokenize_corpus(directory_ / "no", model(), directory_ / "out", options).error().where, directory_ / "no");
  spill(directory_ / "in", "x");
  EXPECT_EQ(tokenize_corpus(directory_ / "in", directory_ / "no.model", directory_ / "out", options).error().where,
            directory_ / "no.model");
  expect_untouched();
}

TEST_F(TokenizeCorpus, TinyShakespeareWithThePublishedModel) {
  FAIRWAY_SHARED_OR_SKIP(model_path, "tokenizers/fineweb_1024_bpe.model");
  FAIRWAY_SHARED_OR_SKIP(text_path, "text/tinyshakespeare.txt");
  const auto counts = tokenize_corpus(text_path, model_path, directory_ / "out/deep/er", {.val_tokens = 50'000});
  ASSERT_TRUE(counts) << counts.error().message();
  EXPECT_EQ(counts->val.tokens, 50'000);
  EXPECT_EQ(counts->val.tokens + counts->train.tokens, 488'897 + 1);
  EXPECT_EQ(counts->val.bytes + counts->train.bytes, 1'108'152u);
  EXPECT_EQ(std::filesystem::file_size(directory_ / "out/deep/er/corpus_val_000000.bin"), 1024u + 100'000u);
}

}  // namespace
}  // namespace fairway::data

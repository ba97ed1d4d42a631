#include "engine/data/shard.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cerrno>

#include "tests/engine/data/fixtures.h"

namespace fairway::data {
namespace {

using test::shard_bytes;
using test::slurp;
using test::spill;
using test::TemporaryDirectory;

std::string error_of(const std::string& path, int32_t vocab_size = 1024) {
  const auto shard = Shard::open(path, vocab_size);
  return shard ? "" : shard.error().message();
}

TEST(Shard, ReadsAnyRangeOfAGoodFile) {
  const TemporaryDirectory directory;
  spill(directory / "s.bin", shard_bytes({1, 500, 1023, 0, 7}));
  const auto shard = Shard::open(directory / "s.bin", 1024);
  ASSERT_TRUE(shard) << shard.error().message();
  EXPECT_EQ(shard->token_count(), 5);
  std::vector<uint16_t> tokens(3);
  ASSERT_TRUE(shard->read(1, tokens));
  EXPECT_EQ(tokens, (std::vector<uint16_t>{500, 1023, 0}));
  EXPECT_TRUE(shard->read(5, {}));
}

TEST(Shard, HeaderFieldsBeyondTheThirdAreIgnored) {
  const TemporaryDirectory directory;
  std::string bytes = shard_bytes({1, 2});
  bytes[12] = 'x';
  bytes[1023] = 'y';
  spill(directory / "s.bin", bytes);
  EXPECT_EQ(error_of(directory / "s.bin"), "");
}

TEST(Shard, EachWrongHeaderFieldIsNamedWithItsOffset) {
  const TemporaryDirectory directory;
  const std::string path = directory / "s.bin";
  spill(path, shard_bytes({1, 2}, 20240521));
  EXPECT_EQ(error_of(path), path + " @ 0x0: magic number is 20240521, not 20240520: this is not a token shard");
  spill(path, shard_bytes({1, 2}, 20240520, 2));
  EXPECT_EQ(error_of(path), path + " @ 0x4: shard version is 2; only version 1 can be read");
  std::string negative = shard_bytes({1, 2});
  negative.replace(8, 4, "\xff\xff\xff\xff");
  spill(path, negative);
  EXPECT_EQ(error_of(path), path + " @ 0x8: token count is -1, below zero");
  spill(path, std::string(1023, '\0'));
  EXPECT_EQ(error_of(path), path + " @ 0x0: holds 1023 bytes, less than the header of a token shard (1024)");
}

TEST(Shard, EveryWrongLengthIsRefused) {
  const TemporaryDirectory directory;
  const std::string path = directory / "s.bin";
  const std::string good = shard_bytes({1, 2, 3});
  for (size_t size = 0; size < good.size(); ++size) {
    spill(path, good.substr(0, size));
    EXPECT_NE(error_of(path), "") << size;
  }
  spill(path, good.substr(0, good.size() - 1));
  EXPECT_EQ(error_of(path),
            path +
                " @ 0x8: header announces 3 tokens, a file of 1030 bytes, but it holds 1029 (truncated; "
                "fetch it again)");
  spill(path, good + "z");
  EXPECT_EQ(error_of(path),
            path + " @ 0x8: header announces 3 tokens, a file of 1030 bytes, but it holds 1031 (trailing bytes)");
}

TEST(Shard, ATokenOutsideTheVocabularyIsFoundWhereItStands) {
  const TemporaryDirectory directory;
  const std::string path = directory / "s.bin";
  spill(path, shard_bytes({1, 2, 1024, 3}));
  const auto shard = Shard::open(path, 1024);
  ASSERT_TRUE(shard);
  std::vector<uint16_t> tokens(2);
  EXPECT_TRUE(shard->read(0, tokens));
  const Status status = shard->read(1, tokens);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::kData);
  EXPECT_EQ(status.error().message(),
            path +
                " @ 0x404: token id 1024 is outside the vocabulary of 1024; the shard belongs "
                "to another tokenizer or is damaged");
  const auto wider = Shard::open(path, 1025);
  ASSERT_TRUE(wider);
  EXPECT_TRUE(wider->read(1, tokens));
}

TEST(Shard, TheLargestVocabularyAcceptsEverySixteenBitId) {
  const TemporaryDirectory directory;
  spill(directory / "s.bin", shard_bytes({65535}));
  const auto shard = Shard::open(directory / "s.bin", kMaxVocabSize);
  ASSERT_TRUE(shard);
  std::vector<uint16_t> tokens(1);
  ASSERT_TRUE(shard->read(0, tokens));
  EXPECT_EQ(tokens[0], 65535);
}

TEST(ListShards, SortsByNameAndIgnoresOtherFiles) {
  const TemporaryDirectory directory;
  for (const char* name : {"fineweb_val_000010.bin", "fineweb_val_000002.bin", "fineweb_val_bytes_000000.bin",
                           "fineweb_train_000000.bin", "fineweb_val_.bin", "fineweb_val_000003.bin.tmp-7-1", "notes"}) {
    spill(directory / name, "");
  }
  const auto paths = list_shards(directory.path(), "fineweb_val");
  ASSERT_TRUE(paths) << paths.error().message();
  EXPECT_EQ(*paths,
            (std::vector<std::string>{directory / "fineweb_val_000002.bin", directory / "fineweb_val_000010.bin"}));
}

TEST(ListShards, NoneIsAnErrorThatSaysWhatToDo) {
  const TemporaryDirectory directory;
  const auto none = list_shards(directory.path(), "fineweb_val");
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::kNoInput);
  EXPECT_EQ(none.error().message(),
            directory.path() + ": holds no fineweb_val_<number>.bin; download or tokenize the data first");
  EXPECT_EQ(list_shards(directory / "no", "x").error().code, Errc::kNoInput);
}

TEST(OpenShards, ASplitWithoutATokenIsRefused) {
  const TemporaryDirectory directory;
  spill(directory / "s.bin", shard_bytes({}));
  const std::vector<std::string> paths = {directory / "s.bin"};
  EXPECT_FALSE(open_shards(paths, 10));
  EXPECT_FALSE(open_shards({}, 10));
}

// Thousands of small shards need not reach the disk.
class Unsynced : public FileSystem {
  int fsync(int) override { return 0; }
};

RC_GTEST_PROP(ShardWriter, SplitsAtTheLimitAndLosesNothing, (const std::vector<std::vector<uint16_t>>& pieces)) {
  const TemporaryDirectory directory;
  const int64_t limit = *rc::gen::inRange(1, 20);
  Unsynced system;
  ShardWriter writer(directory.path(), "w", limit, system);
  std::vector<uint16_t> all;
  for (const auto& piece : pieces) {
    RC_ASSERT(static_cast<bool>(writer.append(piece)));
    all.insert(all.end(), piece.begin(), piece.end());
  }
  const auto paths = writer.finish();
  RC_ASSERT(static_cast<bool>(paths));
  RC_ASSERT(static_cast<int64_t>(paths->size()) == (static_cast<int64_t>(all.size()) + limit - 1) / limit);
  for (size_t i = 0; i < paths->size(); ++i) {
    RC_ASSERT((*paths)[i] == directory / shard_name("w", static_cast<int64_t>(i)));
    const size_t first = i * static_cast<size_t>(limit);
    const size_t last = std::min(all.size(), first + static_cast<size_t>(limit));
    RC_ASSERT(slurp((*paths)[i]) == shard_bytes({all.begin() + static_cast<std::ptrdiff_t>(first),
                                                 all.begin() + static_cast<std::ptrdiff_t>(last)}));
  }
  RC_ASSERT(directory.files().size() == paths->size());
}

TEST(ShardWriter, BuffersLargerThanOneWriteKeepTheirOrder) {
  const TemporaryDirectory directory;
  std::vector<uint16_t> tokens(1'500'000);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<uint16_t>(i * 40503u >> 4);
  ShardWriter writer(directory.path(), "w");
  ASSERT_TRUE(writer.append(tokens));
  const auto paths = writer.finish();
  ASSERT_TRUE(paths);
  ASSERT_EQ(paths->size(), 1u);
  EXPECT_TRUE(slurp(paths->front()) == shard_bytes(tokens));
}

TEST(ShardWriter, SixDigitsThenMore) {
  EXPECT_EQ(shard_name("fineweb_train", 7), "fineweb_train_000007.bin");
  EXPECT_EQ(shard_name("fineweb_train", 1234567), "fineweb_train_1234567.bin");
}

TEST(ShardWriter, AFullDiskLeavesNoPartOfTheShard) {
  class Full : public FileSystem {
    ssize_t pwrite(int, const void*, size_t, int64_t) override {
      errno = ENOSPC;
      return -1;
    }
  };
  const TemporaryDirectory directory;
  Full system;
  ShardWriter writer(directory.path(), "w", 10, system);
  ASSERT_TRUE(writer.append(std::vector<uint16_t>(5)));
  const auto paths = writer.finish();
  ASSERT_FALSE(paths);
  EXPECT_EQ(paths.error().code, Errc::kIo);
  EXPECT_EQ(paths.error().where, directory / "w_000000.bin");
  EXPECT_TRUE(directory.files().empty());
}

}  // namespace
}  // namespace fairway::data

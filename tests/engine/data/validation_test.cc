#include "engine/data/validation.h"

#include <gtest/gtest.h>

#include "tests/engine/data/fixtures.h"

namespace fairway::data {
namespace {

using test::counting_shards;
using test::shard_bytes;
using test::spill;
using test::TemporaryDirectory;

TEST(ValidationSet, ConcatenatesShardsAndKeepsWholeRowsPlusOneToken) {
  const TemporaryDirectory directory;
  const auto paths = counting_shards(directory, {10, 1, 12}, 1000);
  const struct { int64_t seq_len, usable; } cases[] = {{1, 22}, {5, 20}, {7, 21}, {11, 22}, {12, 12}, {22, 22}};
  for (const auto& c : cases) {
    const auto set = ValidationSet::load(paths, 1000, c.seq_len);
    ASSERT_TRUE(set) << set.error().message();
    EXPECT_EQ(set->usable(), c.usable) << c.seq_len;
    ASSERT_EQ(set->tokens().size(), static_cast<size_t>(c.usable) + 1);
    ASSERT_EQ(set->all_tokens().size(), 23u);
    for (size_t i = 0; i < 23; ++i) EXPECT_EQ(set->all_tokens()[i], i);
    EXPECT_EQ(set->tokens().data(), set->all_tokens().data());
  }
}

TEST(ValidationSet, LessThanOneRowIsAnError) {
  const TemporaryDirectory directory;
  const auto paths = counting_shards(directory, {20}, 1000);
  EXPECT_TRUE(ValidationSet::load(paths, 1000, 19));
  const auto set = ValidationSet::load(paths, 1000, 20);
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().code, Errc::kData);
  EXPECT_EQ(set.error().message(), paths[0] +
                                       ": the validation split holds 20 tokens, too few for one row of 20 predictions; "
                                       "shorten the evaluation's rows or add data");
}

TEST(ValidationSet, ABadTokenAnywhereIsFoundEvenBeyondTheUsablePart) {
  const TemporaryDirectory directory;
  auto paths = counting_shards(directory, {11}, 1000);
  paths.push_back(directory / "last.bin");
  spill(paths.back(), shard_bytes({3, 1000}));
  const auto set = ValidationSet::load(paths, 1000, 10);
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().where, paths.back() + " @ 0x402");
}

// The published split has 62,021,846 tokens; a file of that size and only zeros stands for it.
TEST(ValidationSet, UsablePredictionsOfThePublishedSplit) {
  const TemporaryDirectory directory;
  std::string bytes = shard_bytes({});
  bytes.replace(8, 4, test::little_endian(62'021'846, 4));
  const std::vector<std::string> paths = {directory / "fineweb_val_000000.bin"};
  spill(paths[0], bytes);
  std::filesystem::resize_file(paths[0], 1024 + 2 * 62'021'846);
  const struct { int64_t seq_len, usable; } cases[] = {{1024, 62'021'632}, {2048, 62'021'632}, {4096, 62'021'632}};
  for (const auto& c : cases) {
    const auto set = ValidationSet::load(paths, 1024, c.seq_len);
    ASSERT_TRUE(set) << set.error().message();
    EXPECT_EQ(set->usable(), c.usable);
    EXPECT_EQ(set->all_tokens().size() - 1, 62'021'845u);
  }
}

}  // namespace
}  // namespace fairway::data

#include "engine/data/token_stream.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/engine/data/fixtures.h"

namespace fairway::data {
namespace {

using test::counting_shards;
using test::shard_bytes;
using test::spill;
using test::TemporaryDirectory;

constexpr int kVocab = 1000;

TokenStream open_stream(const std::vector<std::string>& paths) {
  auto stream = TokenStream::open(paths, kVocab);
  EXPECT_TRUE(stream) << stream.error().message();
  return std::move(*stream);
}

TEST(TokenStream, TakeContinuesIntoTheNextShardAndWrapsToTheFirst) {
  const TemporaryDirectory directory;
  TokenStream stream = open_stream(counting_shards(directory, {3, 0, 4}, kVocab));
  EXPECT_EQ(stream.total_tokens(), 7);
  std::vector<uint16_t> tokens(5);
  ASSERT_TRUE(stream.take(tokens));
  EXPECT_EQ(tokens, (std::vector<uint16_t>{0, 1, 2, 3, 4}));
  ASSERT_TRUE(stream.take(tokens));
  EXPECT_EQ(tokens, (std::vector<uint16_t>{5, 6, 0, 1, 2}));
  std::vector<uint16_t> long_run(16);
  ASSERT_TRUE(stream.take(long_run));
  EXPECT_EQ(long_run, (std::vector<uint16_t>{3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4}));
}

RC_GTEST_PROP(TokenStream, ReadAtAPositionIsWhatTakeGivesThere, ()) {
  const TemporaryDirectory directory;
  const auto sizes = *rc::gen::nonEmpty(rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 9)));
  int total = 0;
  for (const int size : sizes) total += size;
  RC_PRE(total > 0);
  TokenStream stream = open_stream(counting_shards(directory, sizes, kVocab));
  int64_t position = 0;
  for (int i = 0; i < 5; ++i) {
    const auto count = *rc::gen::inRange<size_t>(0, 40);
    std::vector<uint16_t> taken(count), read(count);
    RC_ASSERT(static_cast<bool>(stream.take(taken)));
    RC_ASSERT(static_cast<bool>(stream.read(position, read)));
    RC_ASSERT(taken == read);
    for (size_t j = 0; j < count; ++j) RC_ASSERT(taken[j] == (position + static_cast<int64_t>(j)) % total);
    position += static_cast<int64_t>(count);
  }
}

// The original loop: W ranks, A = 8 / W accumulation steps, each rank slicing its span out of take(span * W). Rows are
// returned in the order micro-step, rank.
void original_step(TokenStream& stream, int64_t batch_tokens, int ranks, std::vector<uint16_t>& inputs,
                   std::vector<uint16_t>& targets) {
  const int accumulation = 8 / ranks;
  const auto local = static_cast<size_t>(batch_tokens / (ranks * accumulation));
  const size_t span = local + 1;
  inputs.clear();
  targets.clear();
  for (int micro_step = 0; micro_step < accumulation; ++micro_step) {
    std::vector<uint16_t> buffer(span * static_cast<size_t>(ranks));
    RC_ASSERT(static_cast<bool>(stream.take(buffer)));
    for (size_t rank = 0; rank < static_cast<size_t>(ranks); ++rank) {
      const auto mine = buffer.begin() + static_cast<std::ptrdiff_t>(rank * span);
      inputs.insert(inputs.end(), mine, mine + static_cast<std::ptrdiff_t>(local));
      targets.insert(targets.end(), mine + 1, mine + static_cast<std::ptrdiff_t>(span));
    }
  }
}

RC_GTEST_PROP(TrainingBatches, AStepHasTheTokensOfTheOriginalLoopForEveryNumberOfRanks, ()) {
  const TemporaryDirectory directory;
  const std::vector<int> sizes = {*rc::gen::inRange(1, 60), *rc::gen::inRange(0, 60), *rc::gen::inRange(0, 200)};
  const auto paths = counting_shards(directory, sizes, kVocab);
  const int64_t seq_len = *rc::gen::inRange(1, 7);
  const int64_t batch_tokens = 8 * seq_len * *rc::gen::inRange(1, 4);
  const auto batches = TrainingBatches::create(open_stream(paths), {batch_tokens, seq_len});
  RC_ASSERT(static_cast<bool>(batches));
  std::vector<uint16_t> inputs(static_cast<size_t>(batch_tokens)), targets(inputs.size());
  for (const int ranks : {1, 2, 4, 8}) {
    TokenStream stream = open_stream(paths);
    std::vector<uint16_t> original_inputs, original_targets;
    for (int64_t step = 0; step < 6; ++step) {
      original_step(stream, batch_tokens, ranks, original_inputs, original_targets);
      RC_ASSERT(static_cast<bool>(batches->fill_step(step, inputs, targets)));
      RC_ASSERT(inputs == original_inputs);
      RC_ASSERT(targets == original_targets);
    }
  }
}

TEST(TrainingBatches, RowsFollowEachOtherInsideAWorkerAndOneTokenIsOnlyEverATarget) {
  const TemporaryDirectory directory;
  const auto batches =
      TrainingBatches::create(open_stream(counting_shards(directory, {1000}, kVocab)), {8, 2, /*workers=*/2});
  ASSERT_TRUE(batches) << batches.error().message();
  EXPECT_EQ(batches->rows_per_step(), 4);
  EXPECT_EQ(batches->stream_tokens_per_step(), 10);
  std::vector<uint16_t> inputs(8), targets(8);
  ASSERT_TRUE(batches->fill_step(1, inputs, targets));
  EXPECT_EQ(inputs, (std::vector<uint16_t>{10, 11, 12, 13, 15, 16, 17, 18}));
  EXPECT_EQ(targets, (std::vector<uint16_t>{11, 12, 13, 14, 16, 17, 18, 19}));
}

TEST(TrainingBatches, AStreamShorterThanOneSpanRepeats) {
  const TemporaryDirectory directory;
  const auto batches = TrainingBatches::create(open_stream(counting_shards(directory, {2, 1}, kVocab)), {16, 8, 1});
  ASSERT_TRUE(batches);
  std::vector<uint16_t> inputs(16), targets(16);
  ASSERT_TRUE(batches->fill_step(1, inputs, targets));
  for (size_t i = 0; i < 16; ++i) {
    EXPECT_EQ(inputs[i], (17 + i) % 3);
    EXPECT_EQ(targets[i], (18 + i) % 3);
  }
}

TEST(TrainingBatches, AStepFarBeyondTheFirstEpochDoesNotOverflow) {
  const TemporaryDirectory directory;
  const auto batches = TrainingBatches::create(open_stream(counting_shards(directory, {7}, kVocab)), {16, 2});
  ASSERT_TRUE(batches);
  std::vector<uint16_t> inputs(16), targets(16);
  ASSERT_TRUE(batches->fill_step(INT64_MAX, inputs, targets));
  // 2^63 - 1 is a multiple of 7, so this is the start of the stream.
  EXPECT_EQ(inputs[0], 0);
  ASSERT_TRUE(batches->fill_step(INT64_MAX - 1, inputs, targets));
  EXPECT_EQ(inputs[0], (7 - 24 % 7) % 7);
}

TEST(TrainingBatches, ShapesThatDoNotDivideNameTheKeyToChange) {
  const TemporaryDirectory directory;
  const auto paths = counting_shards(directory, {100}, kVocab);
  const auto error = [&](BatchShape shape) {
    const auto batches = TrainingBatches::create(open_stream(paths), shape);
    return batches ? std::string() : batches.error().message();
  };
  EXPECT_EQ(error({524'288, 1024}), "");
  EXPECT_EQ(error({786'432, 2048}), "");
  EXPECT_EQ(error({524'289, 1024}),
            "train.batch_tokens: is 524289; it must be a positive multiple of 8192 (8 workers times train.seq_len = "
            "1024)");
  EXPECT_NE(error({4096, 1024}), "");
  EXPECT_NE(error({0, 1024}), "");
  EXPECT_NE(error({-8192, 1024}), "");
  EXPECT_EQ(error({524'288, 0}), "train.seq_len: is 0; give a positive number of tokens");
  EXPECT_NE(error({524'288, INT64_MAX}), "");
}

TEST(TrainingBatches, ABadTokenStopsTheStepThatReadsItAndNoOther) {
  const TemporaryDirectory directory;
  std::vector<uint16_t> tokens(40, 5);
  tokens[25] = kVocab;
  spill(directory / "s.bin", shard_bytes(tokens));
  const auto batches = TrainingBatches::create(open_stream({directory / "s.bin"}), {8, 1});
  ASSERT_TRUE(batches);
  std::vector<uint16_t> inputs(8), targets(8);
  EXPECT_TRUE(batches->fill_step(0, inputs, targets));
  const Status status = batches->fill_step(1, inputs, targets);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().where, (directory / "s.bin") + " @ 0x432");
}

}  // namespace
}  // namespace fairway::data

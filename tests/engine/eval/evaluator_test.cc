#include "engine/eval/evaluator.h"

#include <gtest/gtest.h>

#include <cstring>

#include "engine/data/byte_accounting.h"
#include "tests/engine/model/small_model.h"
#include "tests/kernels/support.h"
#include "tests/support/thread_communicator.h"

namespace fairway::eval {
namespace {

using Floats = std::vector<float>;

class Evaluation : public ::testing::Test {
 protected:
  Evaluation() : model(test::small_config(2)), tokens(test::random_tokens(20 * 12 + 1, 61, 4)), alone(comm::single_process()) {
    model.initialise(5);
    test::perturb(model, 11);
  }
  EvalRun run(Method method, int64_t length, int64_t stride) {
    return {{method, length, stride}, tokens, nullptr, alone.get(), {}, ""};
  }
  /// Scores and the nll values the sink received.
  std::pair<Scores, Floats> evaluate_to_floats(EvalRun r) {
    Floats nll;
    r.sink = [&](std::span<const float> piece) -> Status {
      nll.insert(nll.end(), piece.begin(), piece.end());
      return {};
    };
    auto scores = evaluate(model, r);
    EXPECT_TRUE(scores) << scores.error().message();
    return {*scores, nll};
  }
  /// The nll of window w run all by itself.
  Floats window_alone(const Window& w) {
    model::Batch b;
    b.sequences = 1;
    b.length = w.length;
    b.inputs = std::span(tokens).subspan(static_cast<size_t>(w.start), static_cast<size_t>(w.length));
    b.targets = std::span(tokens).subspan(static_cast<size_t>(w.start) + 1, static_cast<size_t>(w.length));
    const Floats all = test::nll_of(model, b);
    return {all.begin() + w.first_scored, all.begin() + w.first_scored + w.scored_count};
  }
  model::Gpt model;
  std::vector<uint16_t> tokens;
  std::unique_ptr<comm::Communicator> alone;
};

const std::pair<Method, EvalConfig> kMethods[] = {
    {Method::kStandard, {Method::kStandard, 20, 20}}, {Method::kSlidingA, {Method::kSlidingA, 20, 7}}, {Method::kSlidingB, {Method::kSlidingB, 20, 7}},
    {Method::kSlidingC, {Method::kSlidingC, 20, 7}},  {Method::kSlidingD, {Method::kSlidingD, 20, 7}},
};

TEST_F(Evaluation, EveryMethodScoresTheBitsOfItsWindowsRunOneByOne) {
  for (const auto& [method, config] : kMethods) {
    EvalRun r = run(method, config.seq_len, config.stride);
    const auto [scores, nll] = evaluate_to_floats(r);
    const auto plan = WindowPlan::create(config, static_cast<int64_t>(tokens.size()) - 1);
    Floats expected;
    for (int64_t i = 0; i < plan->count(); ++i) {
      const Floats one = window_alone(plan->window(i));
      expected.insert(expected.end(), one.begin(), one.end());
    }
    EXPECT_TRUE(nll == expected) << method_name(method);
    EXPECT_EQ(scores.tokens, expected.size()) << method_name(method);
  }
}

TEST_F(Evaluation, ACutWindowSeesTheRopeBaseOfAWholeOne) {
  // The base of a window longer than the reference length depends on its length; the cut windows at the end are padded ones.
  model::ModelConfig config = test::small_config(2);
  config.rope_reference_length = 10;
  model::Gpt scaled(config);
  scaled.initialise(5);
  test::perturb(scaled, 11);
  const int64_t predictions = static_cast<int64_t>(tokens.size()) - 1;
  const auto plan = WindowPlan::create({Method::kSlidingC, 20, 7}, predictions);
  auto scored = [&](const Window& w, int64_t padded_length) {
    std::vector<uint16_t> inputs(static_cast<size_t>(padded_length), 0), targets(inputs);
    std::copy_n(tokens.begin() + w.start, w.length, inputs.begin());
    std::copy_n(tokens.begin() + w.start + 1, w.length, targets.begin());
    model::Batch b;
    b.sequences = 1;
    b.length = padded_length;
    b.inputs = inputs;
    b.targets = targets;
    const Floats all = test::nll_of(scaled, b);
    return Floats(all.begin() + w.first_scored, all.begin() + w.first_scored + w.scored_count);
  };
  Floats expected, unpadded, nll;
  for (int64_t i = 0; i < plan->count(); ++i) {
    const Window w = plan->window(i);
    const Floats whole = scored(w, 20), cut = scored(w, w.length);
    expected.insert(expected.end(), whole.begin(), whole.end());
    unpadded.insert(unpadded.end(), cut.begin(), cut.end());
  }
  EvalRun r = run(Method::kSlidingC, 20, 7);
  r.sink = [&](std::span<const float> piece) -> Status {
    nll.insert(nll.end(), piece.begin(), piece.end());
    return {};
  };
  ASSERT_TRUE(evaluate(scaled, r));
  EXPECT_TRUE(nll == expected);
  EXPECT_FALSE(nll == unpadded) << "the lengths of this test's windows make no difference, so it shows nothing";
}

TEST_F(Evaluation, AStrideOfAWholeWindowGivesTheStandardBits) {
  const auto [standard, nll] = evaluate_to_floats(run(Method::kStandard, 20, 20));
  for (Method m : {Method::kSlidingA, Method::kSlidingB, Method::kSlidingC, Method::kSlidingD}) {
    const auto [scores, other] = evaluate_to_floats(run(m, 20, 20));
    EXPECT_TRUE(other == nll) << method_name(m);
    EXPECT_EQ(scores.stream_sha256, standard.stream_sha256);
    EXPECT_EQ(scores.loss_units, standard.loss_units);
    EXPECT_EQ(scores.val_loss, standard.val_loss);
  }
}

TEST_F(Evaluation, TheDigestIsThatOfTheNllBytesAndTheTotalsAreTheirIntegerSums) {
  const auto [scores, nll] = evaluate_to_floats(run(Method::kSlidingC, 20, 7));
  EXPECT_EQ(scores.stream_sha256, sha256(std::as_bytes(std::span(nll))));
  int64_t units = 0;
  for (float x : nll) units += std::llrint(static_cast<double>(x) * 0x1p26);
  EXPECT_EQ(scores.loss_units, units);
  EXPECT_EQ(scores.val_loss, static_cast<double>(units) * 0x1p-26 / static_cast<double>(nll.size()));
  EXPECT_EQ(scores.bytes, 0u);
  EXPECT_EQ(scores.val_bpb, 0.0);
}

TEST_F(Evaluation, MoreWindowsThanFitOneBatchChangeNothing) {
  // 1,000 windows of 20 tokens do not fit the 8,192 tokens run at once.
  tokens = test::random_tokens(20 * 1000 + 1, 61, 6);
  const auto [whole, nll] = evaluate_to_floats(run(Method::kStandard, 20, 20));
  const std::vector<uint16_t> all = tokens;
  Floats pieces;
  for (size_t at = 0; at + 1 < all.size(); at += 20 * 37) {
    const size_t end = std::min(all.size(), at + 20 * 37 + 1);
    tokens.assign(all.begin() + static_cast<std::ptrdiff_t>(at), all.begin() + static_cast<std::ptrdiff_t>(end));
    const auto part = evaluate_to_floats(run(Method::kStandard, 20, 20)).second;
    pieces.insert(pieces.end(), part.begin(), part.end());
  }
  EXPECT_TRUE(pieces == nll);
  EXPECT_EQ(whole.tokens, 20000u);
}

TEST_F(Evaluation, BytesAndBitsPerByteFollowTheTokenizer) {
  auto tokenizer = data::Tokenizer::load(FAIRWAY_SOURCE_DIR "/submissions/corpus/fairway_1024_bpe.model");
  ASSERT_TRUE(tokenizer) << tokenizer.error().message();
  const data::ByteAccounting accounting(*tokenizer, 1024);
  model::ModelConfig config = test::small_config(1);
  config.vocab_size = 1024;
  model::Gpt m(config);
  m.initialise(3);
  tokens = test::random_tokens(121, 1024, 4);
  EvalRun r = run(Method::kSlidingC, 20, 7);
  r.accounting = &accounting;
  const auto scores = evaluate(m, r);
  ASSERT_TRUE(scores);
  uint64_t bytes = 0;
  const auto plan = WindowPlan::create(r.config, 120);
  for (int64_t i = 0; i < plan->count(); ++i) {
    const Window w = plan->window(i);
    for (int64_t j = 0; j < w.scored_count; ++j) {
      const auto p = static_cast<size_t>(w.start + w.first_scored + j);
      bytes += accounting.bytes(tokens[p], tokens[p + 1]);
    }
  }
  EXPECT_EQ(scores->bytes, bytes);
  EXPECT_EQ(scores->val_bpb, data::bits_per_byte(static_cast<double>(scores->loss_units) * 0x1p-26, bytes));
}

TEST_F(Evaluation, RanksFindTheSameScoresAndTheSinkSeesThemInOrder) {
  for (const auto& [method, config] : kMethods) {
    const auto [expected, nll] = evaluate_to_floats(run(method, config.seq_len, config.stride));
    for (int size : {2, 3}) {
      Floats found;
      std::vector<Scores> scores(static_cast<size_t>(size));
      test::on_ranks(size, [&](comm::Communicator& c) {
        model::Gpt mine(model.config());
        mine.initialise(5);
        test::perturb(mine, 11);
        EvalRun r{config, tokens, nullptr, &c, {}, ""};
        r.sink = [&](std::span<const float> piece) -> Status {
          found.insert(found.end(), piece.begin(), piece.end());
          return {};
        };
        auto s = evaluate(mine, r);
        if (s) scores[static_cast<size_t>(c.rank())] = *s;
      });
      EXPECT_TRUE(found == nll) << method_name(method) << " " << size;
      for (const Scores& s : scores) {
        EXPECT_EQ(s.stream_sha256, expected.stream_sha256) << method_name(method);
        EXPECT_EQ(s.loss_units, expected.loss_units);
        EXPECT_EQ(s.tokens, expected.tokens);
      }
    }
  }
}

TEST_F(Evaluation, ASinkThatFailsStopsEveryRank) {
  std::vector<std::string> messages(3);
  test::on_ranks(3, [&](comm::Communicator& c) {
    model::Gpt mine(model.config());
    mine.initialise(5);
    EvalRun r{{Method::kSlidingB, 20, 7}, tokens, nullptr, &c, {}, ""};
    r.sink = [](std::span<const float>) -> Status { return Error{Errc::kIo, "scores", "no space"}; };
    const auto s = evaluate(mine, r);
    messages[static_cast<size_t>(c.rank())] = s ? "passed" : s.error().message();
  });
  EXPECT_EQ(messages, (std::vector<std::string>{"scores: no space", "stopped because another rank met an error",
                                                "stopped because another rank met an error"}));
}

TEST_F(Evaluation, AModelThatIsNotFiniteIsAnErrorOnEveryRank) {
  std::vector<int> failed(2);
  test::on_ranks(2, [&](comm::Communicator& c) {
    model::Gpt mine(model.config());
    mine.initialise(5);
    if (c.rank() == 1) {
      mine.find("blocks.0.attn.c_q.weight")->value()[0] = NAN;
      mine.find("blocks.0.attn.c_q.weight")->changed();
    }
    EvalRun r{{Method::kStandard, 20, 20}, tokens, nullptr, &c, {}, ""};
    // Large batches would leave rank 1 without work: 240 predictions fit one group.
    const auto many = test::random_tokens(20 * 1000 + 1, 61, 6);
    r.tokens = many;
    failed[static_cast<size_t>(c.rank())] = evaluate(mine, r) ? 0 : 1;
  });
  EXPECT_EQ(failed, (std::vector<int>{1, 1}));
}

TEST_F(Evaluation, ThreadsAndInstructionSetsChangeNoBit) {
  Digest expected{};
  test::Machine restore;
  bool first = true;
  for (kernels::Isa isa : test::available_sets()) {
    for (int threads : {1, 3}) {
      kernels::set_isa(isa);
      kernels::set_thread_count(threads);
      const auto scores = evaluate(model, run(Method::kSlidingB, 20, 7));
      ASSERT_TRUE(scores);
      if (first) expected = scores->stream_sha256;
      first = false;
      EXPECT_EQ(scores->stream_sha256, expected) << kernels::isa_name(isa) << " " << threads;
    }
  }
}

TEST_F(Evaluation, AStreamTooShortForItsMethodIsAnError) {
  tokens.resize(15);
  const auto scores = evaluate(model, run(Method::kSlidingA, 20, 7));
  ASSERT_FALSE(scores);
  EXPECT_EQ(scores.error().code, Errc::kData);
}

}  // namespace
}  // namespace fairway::eval

/// Procedures against what they must equal: the same scores where learning is switched off, one long window where the cache holds
/// everything, counts against a plain computation, adapters against central differences, Python's shuffle against Python.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <map>

#include "engine/eval/dishonest/python_random.h"
#include "engine/eval/procedures/learner.h"
#include "engine/eval/procedures/ngram.h"
#include "tests/kernels/support.h"
#include "tests/verifier/probe/eval_cases.h"

namespace fairway::eval {
namespace {

std::vector<float> scores_of(test::EvalSubject& subject, const EvalConfig& config) {
  std::vector<float> nll;
  const auto alone = comm::single_process();
  EvalRun run{config, subject.tokens, nullptr, alone.get(), {}, ""};
  run.sink = [&](std::span<const float> piece) -> Status {
    nll.insert(nll.end(), piece.begin(), piece.end());
    return {};
  };
  const auto found = evaluate(subject.model, run);
  EXPECT_TRUE(found) << found.error().message();
  return nll;
}

TEST(ScoreFirst, WithoutTrainingItGivesTheScoresOfTheSlidingWindows) {
  test::EvalSubject a(5), b(5);
  EvalConfig ttt = test::case_config(ProcedureKind::kScoreFirstTtt);
  ttt.sgd.epochs = 0;
  EXPECT_TRUE(test::same_bits(scores_of(a, ttt), scores_of(b, test::case_config(ProcedureKind::kWindows, Method::kSlidingC))));
}

TEST(ScoreFirst, TrainingChangesOnlyWhatComesAfterTheFirstChunkAndLowersALearnableLoss) {
  test::EvalSubject a(5), b(5);
  EvalConfig ttt = test::case_config(ProcedureKind::kScoreFirstTtt);
  const auto learned = scores_of(a, ttt), fixed = scores_of(b, test::case_config(ProcedureKind::kWindows, Method::kSlidingC));
  ASSERT_EQ(learned.size(), fixed.size());
  const size_t chunk = static_cast<size_t>(ttt.sgd.chunk_tokens);
  EXPECT_TRUE(std::equal(fixed.begin(), fixed.begin() + static_cast<std::ptrdiff_t>(chunk), learned.begin()));
  double gain = 0.0;
  for (size_t i = chunk; i < fixed.size(); ++i) gain += static_cast<double>(fixed[i]) - static_cast<double>(learned[i]);
  EXPECT_GT(gain, 0.0);
}

TEST(NeuralCache, OfOneLayerHoldingEverythingEqualsOneLongWindow) {
  model::ModelConfig one = test::tiny_config();
  one.layers = 1;
  const auto make = [&](model::Gpt& m) {
    m.initialise(3);
    test::perturb(m, 4);
  };
  const auto tokens = test::stream_of_documents(145, one.vocab_size, 9);
  auto run = [&](const EvalConfig& config) {
    model::Gpt m(one);
    make(m);
    std::vector<float> nll;
    const auto alone = comm::single_process();
    EvalRun r{config, tokens, nullptr, alone.get(), {}, ""};
    r.sink = [&](std::span<const float> piece) -> Status {
      nll.insert(nll.end(), piece.begin(), piece.end());
      return {};
    };
    const auto found = evaluate(m, r);
    EXPECT_TRUE(found) << found.error().message();
    return nll;
  };
  EvalConfig cached = test::case_config(ProcedureKind::kNeuralCache);
  cached.cache.tokens = 1000;
  EvalConfig whole;
  whole.seq_len = whole.stride = 144;
  EXPECT_TRUE(test::same_bits(run(cached), run(whole)));
}

TEST(NeuralCache, WithoutCacheItGivesTheScoresOfTheSlidingWindowsOnceEach) {
  test::EvalSubject a(5), b(5);
  EvalConfig cached = test::case_config(ProcedureKind::kNeuralCache);
  cached.cache.tokens = 0;
  auto sliding = scores_of(b, test::case_config(ProcedureKind::kWindows, Method::kSlidingC));
  sliding.resize(144);  // what follows repeats the end
  EXPECT_TRUE(test::same_bits(scores_of(a, cached), sliding));
}

TEST(Ngram, TheDistributionIsAbsoluteDiscountingAndSumsToOne) {
  constexpr int64_t kVocab = 23;
  const auto tokens = test::stream_of_documents(500, kVocab, 2);
  NgramCounts counts(4, 0.75f);
  for (size_t at = 0; at < 400; at += 7) counts.absorb(std::span(tokens).subspan(at, std::min<size_t>(7, 400 - at)));
  std::vector<float> p(kVocab);
  for (size_t j = 400; j < 500; ++j) {
    const auto context = std::span(tokens).first(j);
    counts.distribution(context, p);
    std::vector<double> expected(kVocab, 1.0 / kVocab);
    for (size_t k = 0; k < 4; ++k) {
      std::map<uint16_t, int> seen;
      int total = 0;
      for (size_t i = k; i < 400; ++i) {
        if (std::equal(tokens.begin() + static_cast<std::ptrdiff_t>(i - k), tokens.begin() + static_cast<std::ptrdiff_t>(i),
                       tokens.begin() + static_cast<std::ptrdiff_t>(j - k))) {
          ++seen[tokens[i]];
          ++total;
        }
      }
      if (total == 0) break;
      for (size_t v = 0; v < kVocab; ++v) {
        const auto at = seen.find(static_cast<uint16_t>(v));
        expected[v] *= 0.75 * static_cast<double>(seen.size()) / total;
        if (at != seen.end()) expected[v] += (at->second - 0.75) / total;
      }
    }
    double sum = 0.0;
    for (size_t v = 0; v < kVocab; ++v) {
      EXPECT_NEAR(p[v], expected[v], 1e-6);
      sum += p[v];
    }
    EXPECT_NEAR(sum, 1.0, 1e-6);
  }
}

TEST(Lora, GradientsOfAdaptersAgreeWithCentralDifferences) {
  model::ModelConfig config = test::tiny_config();
  test::set_products(config, kernels::Products::kS21);
  model::AdapterConfig adapters;
  adapters.rank = 3;
  adapters.key = adapters.out = adapters.mlp = true;
  model::Gpt m(config, adapters);
  m.initialise(3);
  test::perturb(m, 4);
  std::mt19937_64 engine(6);
  std::normal_distribution<float> normal;
  for (auto& p : m.adapters()) {
    for (float& x : p->values()) x = 0.3f * normal(engine);
    p->changed();
  }
  const auto tokens = test::random_tokens(21, config.vocab_size, 8);
  constexpr int64_t kFirst = 11;
  const TrainingRows rows{tokens, 1, 20, kFirst};
  ASSERT_TRUE(accumulate(m, {&rows, 1}));
  auto loss = [&] {
    model::Batch batch;
    batch.sequences = 1;
    batch.length = 20;
    batch.inputs = std::span(tokens).first(20);
    batch.targets = std::span(tokens).subspan(1);
    double sum = 0.0;
    const auto nll = test::nll_of(m, batch);
    for (size_t i = kFirst; i < nll.size(); ++i) sum += static_cast<double>(nll[i]);
    return sum;
  };
  EXPECT_EQ(m.adapters().size(), 2u * 6u * 2u + 2u);
  for (auto& p : m.adapters()) {
    double difference = 0.0, norm = 0.0;
    for (int n = 0; n < 6; ++n) {
      const size_t i = engine() % p->values().size();
      const float x = p->values()[i], h = 0.01f;
      p->values()[i] = x + h;
      p->changed();
      const double up = loss();
      p->values()[i] = x - h;
      p->changed();
      const double down = loss();
      p->values()[i] = x;
      p->changed();
      const double slope = (up - down) / (2.0 * static_cast<double>(h)), found = static_cast<double>(p->gradients()[i]) * 0x1p-30;
      difference += (slope - found) * (slope - found);
      norm += slope * slope;
    }
    EXPECT_LT(std::sqrt(difference), 0.02 * std::sqrt(norm) + 1e-3) << p->name();
  }
}

TEST(PythonRandom, ShufflesAsPythonDoes) {
  for (const auto& [seed, count] : {std::pair<uint64_t, int>{1337, 1000}, {0, 7}, {42, 30000}, {uint64_t{1} << 40, 100}}) {
    std::vector<int> list(static_cast<size_t>(count));
    for (int i = 0; i < count; ++i) list[static_cast<size_t>(i)] = i;
    PythonRandom random(seed);
    random.shuffle(list);
    random.shuffle(list);  // the state runs on
    const std::string command = "python3 -c 'import random; random.seed(" + std::to_string(seed) + "); x = list(range(" + std::to_string(count) +
                                ")); random.shuffle(x); random.shuffle(x); print(*x)'";
    std::FILE* python = popen(command.c_str(), "r");
    ASSERT_NE(python, nullptr);
    std::vector<int> expected;
    for (int x = 0; std::fscanf(python, "%d", &x) == 1;) expected.push_back(x);
    if (pclose(python) != 0) GTEST_SKIP() << "python3 does not run here";
    EXPECT_EQ(list, expected) << seed;
  }
}

TEST(Trace, TheWorkedExampleHasTheBytesOfItsDocument) {
  std::vector<std::byte> bytes;
  TraceHeader header;
  header.predictions = 8;
  header.vocab = 23;
  header.window = 4;
  TraceWriter writer(header, [&](std::span<const std::byte> piece) -> Status {
    bytes.insert(bytes.end(), piece.begin(), piece.end());
    return {};
  });
  for (int64_t first : {1, 5}) {
    TraceEvent e;
    e.kind = EventKind::kScore;
    e.tokens = {first, 4};
    ASSERT_TRUE(writer.write(e));
  }
  ASSERT_TRUE(writer.write({}));
  EXPECT_EQ(bytes.size(), 544u);
  const auto whole = parse_trace(bytes, "trace");
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->defect, "");
  EXPECT_EQ(whole->events.size(), 3u);
  // Any byte of an event, flipped, breaks the chain there; any shorter prefix is named as truncated.
  for (size_t at = 176; at < bytes.size(); ++at) {
    bytes[at] ^= std::byte{4};
    const auto damaged = parse_trace(bytes, "trace");
    ASSERT_TRUE(damaged);
    EXPECT_NE(damaged->defect, "") << at;
    EXPECT_EQ(damaged->events.size(), at < 312 ? 0u : at < 448 ? 1u : 2u) << at;
    bytes[at] ^= std::byte{4};
    const auto shorter = parse_trace(std::span(bytes).first(at), "trace");
    ASSERT_TRUE(shorter);
    EXPECT_NE(shorter->defect.find("truncated"), std::string::npos) << at;
  }
}

}  // namespace
}  // namespace fairway::eval

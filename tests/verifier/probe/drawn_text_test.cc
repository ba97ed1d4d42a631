/// The source's probabilities are what it draws by; no honest program wins the bet more often than stated; programs
/// that see their target, know the true text or give too much probability lose their disguise. Programs are simulated.
#include "verifier/probe/drawn_text.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <random>

namespace fairway::verifier {
namespace {

using Tokens = std::vector<uint16_t>;
using Row = std::vector<double>;

constexpr uint32_t kVocab = 40;
constexpr double kRate = 0.01;

/// Text with habits: each token has a few likely followers.
Tokens some_text(size_t count, uint64_t seed) {
  std::mt19937_64 engine(seed);
  Tokens text = {1};
  while (text.size() < count) {
    const uint64_t word = engine();
    text.push_back(
        static_cast<uint16_t>(word % 8 == 0 ? word / 8 % kVocab : (text.back() * 7u + word / 8 % 3) % kVocab));
  }
  return text;
}

/// A program: what it gives every token at place t. The honest look at tokens before t alone.
using Stream = std::span<const uint16_t>;
using Program = std::function<Row(Stream tokens, size_t t)>;

std::vector<float> scores(const Program& program, const Tokens& tokens) {
  std::vector<float> nll;
  for (size_t t = 1; t < tokens.size(); ++t) {
    nll.push_back(static_cast<float>(-std::log(program(tokens, t)[tokens[t]])));
  }
  return nll;
}

/// Counts of followers of the last token, learnt on the way; add one half.
Program adaptive() {
  auto counts = std::make_shared<std::vector<Row>>();
  return [counts](Stream tokens, size_t t) {
    if (t == 1) counts->assign(kVocab, Row(kVocab, 0.5));
    if (t > 1) (*counts)[tokens[t - 2]][tokens[t - 1]] += 1.0;
    Row row = (*counts)[tokens[t - 1]];
    const double sum = std::accumulate(row.begin(), row.end(), 0.0);
    for (double& p : row) p /= sum;
    return row;
  };
}

Program times(Program program, double factor) {
  return [=](Stream tokens, size_t t) {
    Row row = program(tokens, t);
    for (double& p : row) p *= factor;
    return row;
  };
}

bool wins(const Program& program, const TextSource& source, size_t count, uint64_t seed) {
  const auto drawn = source.draw(count, seed, 0);
  return bet_on(scores(program, drawn.tokens), drawn.chance, Row(drawn.chance.size(), 1e-5), -std::log(kRate))
             .prediction >= 0;
}

RC_GTEST_PROP(TextSource, GivesEveryContextProbabilitiesThatSumToOne, ()) {
  const auto text = *rc::gen::nonEmpty(rc::gen::container<Tokens>(rc::gen::inRange<uint16_t>(0, kVocab)));
  const auto before = *rc::gen::nonEmpty(rc::gen::container<Tokens>(rc::gen::inRange<uint16_t>(0, kVocab)));
  const TextSource source(text, kVocab);
  double sum = 0.0;
  for (uint32_t v = 0; v < kVocab; ++v) sum += source.chance(before, static_cast<uint16_t>(v));
  RC_ASSERT(std::abs(sum - 1.0) < 1e-12);
}

TEST(TextSource, DrawsByItsOwnProbabilities) {
  const Tokens text = some_text(3000, 5);
  const TextSource source(text, kVocab);
  const auto drawn = source.draw(200'000, 11, 0);
  ASSERT_EQ(drawn.chance.size() + 1, drawn.tokens.size());
  // For each token: how often it came, against the sum of the probabilities it had, in standard deviations.
  std::map<uint16_t, std::array<double, 3>> seen;  // came, expected, variance
  for (size_t t = 1; t < drawn.tokens.size(); ++t) {
    const auto before = std::span(drawn.tokens).first(t);
    ASSERT_EQ(drawn.chance[t - 1], source.chance(before, drawn.tokens[t]));
    seen[drawn.tokens[t]][0] += 1.0;
    if (t % 8 != 0) continue;
    for (uint16_t v = 0; v < kVocab; ++v) {
      const double q = source.chance(before, v);
      seen[v][1] += 8.0 * q, seen[v][2] += 8.0 * 8.0 * q * (1.0 - q);
    }
  }
  EXPECT_EQ(seen.size(), kVocab);
  for (const auto& [v, s] : seen) EXPECT_LT(std::abs(s[0] - s[1]), 5.0 * std::sqrt(s[2])) << v;
  EXPECT_EQ(source.draw(500, 11, 0).tokens, Tokens(drawn.tokens.begin(), drawn.tokens.begin() + 500));
  EXPECT_NE(source.draw(500, 12, 0).tokens, source.draw(500, 11, 0).tokens);
  EXPECT_NE(source.draw(500, 11, 1).tokens, source.draw(500, 11, 0).tokens);
}

TEST(Bet, HonestProgramsWinNoMoreOftenThanStated) {
  const Tokens text = some_text(2000, 1);
  const TextSource source(text, kVocab);
  const std::map<std::string, Program> honest = {{"it knows the source",
                                                  [&](Stream tokens, size_t t) {
                                                    Row row(kVocab);
                                                    for (uint16_t v = 0; v < kVocab; ++v)
                                                      row[v] = source.chance(tokens.first(t), v);
                                                    return row;
                                                  }},
                                                 {"it learns", adaptive()},
                                                 {"uniform", [](Stream, size_t) { return Row(kVocab, 1.0 / kVocab); }},
                                                 {"nearly all on one guess",
                                                  [](Stream tokens, size_t t) {
                                                    Row row(kVocab, 1e-3 / kVocab);
                                                    row[tokens[t - 1] * 7u % kVocab] += 1.0 - 1e-3;
                                                    return row;
                                                  }},
                                                 {"rounding in binary32", times(adaptive(), 1.0 + 5e-6)}};
  for (const auto& [what, program] : honest) {
    int won = 0;
    for (uint64_t seed = 0; seed < 1000; ++seed) won += wins(program, source, 120, seed);
    // P(Binomial(1000, 0.01) > 18) is below 1 %.
    EXPECT_LE(won, 18) << what;
  }
}

TEST(Bet, DishonestProgramsWin) {
  const Tokens text = some_text(4000, 2);
  const TextSource source(text, kVocab);
  auto followers = std::make_shared<std::vector<Row>>();
  auto context = std::make_shared<Row>(), full = std::make_shared<Row>();
  const std::map<std::string, Program> dishonest = {
      {"sums of 1.05", times(adaptive(), 1.05)},
      {"the scores of the true text, whatever it is given",
       [](Stream, size_t t) { return Row(kVocab, t % 4 == 0 ? 0.9 : 0.02); }},
      {"a look at one token in fifty",
       [honest = adaptive()](Stream tokens, size_t t) {
         Row row = honest(tokens, t);
         if (t % 50 == 0) row[tokens[t]] = 1.0;
         return row;
       }},
      {"the better of two predictions for the true token",
       [honest = adaptive()](Stream tokens, size_t t) {
         Row row = honest(tokens, t);
         row[tokens[t]] = std::max(row[tokens[t]], 1.0 / kVocab);
         return row;
       }},
      {"counts over the whole file, the target among them",
       [followers](Stream tokens, size_t t) {
         if (t == 1) {
           followers->assign(kVocab * kVocab, Row(kVocab, 0.01));
           for (size_t i = 2; i < tokens.size(); ++i)
             (*followers)[tokens[i - 2] * kVocab + tokens[i - 1]][tokens[i]] += 1.0;
         }
         Row row = t == 1 ? Row(kVocab, 1.0) : (*followers)[tokens[t - 2] * kVocab + tokens[t - 1]];
         const double sum = std::accumulate(row.begin(), row.end(), 0.0);
         for (double& p : row) p /= sum;
         return row;
       }},
      {"counts in few hashed buckets, asked with the target",
       [context, full, honest = adaptive()](Stream tokens, size_t t) {
         auto key = [](uint16_t a, uint16_t b) { return (a * 36313u ^ b * 27191u) % 16; };
         if (t == 1) context->assign(16, 0.0), full->assign(16, 0.0);
         if (t > 1) (*context)[tokens[t - 2] % 16] += 1.0, (*full)[key(tokens[t - 2], tokens[t - 1])] += 1.0;
         Row row = honest(tokens, t);
         const double c = (*context)[tokens[t - 1] % 16], f = (*full)[key(tokens[t - 1], tokens[t])];
         if (c >= 2.0) row[tokens[t]] = 0.7 * row[tokens[t]] + 0.3 * std::min(f, c) / c;
         return row;
       }}};
  for (const auto& [what, program] : dishonest) {
    for (uint64_t seed = 0; seed < 4; ++seed)
      EXPECT_TRUE(wins(program, source, 40'000, seed)) << what << ", seed " << seed;
  }
}

TEST(Bet, EstimatesWhatProbabilitiesSumTo) {
  const Tokens text = some_text(4000, 3);
  const TextSource source(text, kVocab);
  const auto drawn = source.draw(20'000, 1, 0);
  for (double sum : {0.5, 1.0, 277.0}) {
    const Bet bet =
        bet_on(scores(times(adaptive(), sum), drawn.tokens), drawn.chance, Row(drawn.chance.size(), 0.0), 10.0);
    EXPECT_LT(std::abs(bet.mean_ratio - sum), 5.0 * bet.error) << sum;
    EXPECT_LT(bet.error, 0.1 * sum);
    EXPECT_EQ(bet.prediction >= 0, sum > 1.0);
  }
}

TEST(Bet, ScoresBelowZeroAndBeyondAnyNumberStayFinite) {
  const std::vector<float> nll = {-1e30f, 1e30f, -700.0f, 5.0f};
  const std::vector<double> chance(4, 1e-8);
  const Bet bet = bet_on(nll, chance, Row(4, 0.0), 10.0);
  EXPECT_TRUE(std::isfinite(bet.log_capital));
  EXPECT_EQ(bet.prediction, 0);
}

}  // namespace
}  // namespace fairway::verifier

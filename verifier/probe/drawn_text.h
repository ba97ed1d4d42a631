/// Text drawn from a source whose probabilities are known, and a bet on it that only a program can win that sees what
/// it is to predict, or gives more than one unit of probability.
///
/// The source imitates the program's own text: with weights 6/10, 1/4, 1/10, 1/20 the next token is what followed a
/// place of that text where the last two tokens stood, where the last token stood, any token of it, or any item of the
/// vocabulary. An order that the text does not hold passes its weight to the next. So q(x), the probability that x
/// follows what was drawn so far, is known exactly.
///
/// Whoever gives the next token probabilities p that do not depend on it and sum to at most 1 has E[p(x) / q(x)] =
/// sum_x p(x) <= 1. Betting a share b of one's capital on each token, it becomes prod_t (1 + b (p_t / q_t - 1)), whose
/// expectation never rises, and by Ville's inequality it ever reaches 1 / r with a probability of at most r. That holds
/// for every such program, learning ones included, and needs no second run. Capital is spread over the shares b = 2^-1
/// ... 2^-16: large ones find rare big gains, small ones find a sum that is a little above 1 everywhere.
/// (J. Ville 1939; Shafer and Vovk 2019, test martingales.)
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace fairway::verifier {

class TextSource {
 public:
  /// At most the first 2^22 of `text`, at least one token, all below `vocab`, are imitated.
  TextSource(std::span<const uint16_t> text, uint32_t vocab);

  struct Drawn {
    std::vector<uint16_t> tokens;
    std::vector<double> chance;  ///< q of each token but the first, which is that of the text
  };
  /// `count` >= 1 tokens; `index` numbers the texts of a seed.
  Drawn draw(size_t count, uint64_t seed, uint64_t index) const;

  /// q(token) after `before`, of which the last two count.
  double chance(std::span<const uint16_t> before, uint16_t token) const;

 private:
  using Followers = std::vector<uint16_t>;  ///< sorted
  /// What followed the last `order` tokens of `before`; null if they never stood there or nothing came after.
  const Followers* followers(std::span<const uint16_t> before, size_t order) const;

  uint32_t vocab_;
  uint16_t first_;
  Followers all_;
  std::unordered_map<uint32_t, Followers> after_one_, after_two_;
};

/// How the bet went.
struct Bet {
  double log_capital = 0.0;  ///< natural logarithm of the largest capital on the way; it begins with 1
  int64_t prediction = -1;   ///< where the capital first reached what was asked
  double mean_ratio = 0.0;   ///< mean of p / q: an estimate of what the probabilities sum to
  double error = 0.0;        ///< its standard error
};

/// `nll`: of the tokens but the first, each to be raised by its `slack` >= 0 for what is noise or rounding. `goal`: the
/// logarithm of the capital wanted.
Bet bet_on(std::span<const float> nll, std::span<const double> chance, std::span<const double> slack, double goal);

}  // namespace fairway::verifier

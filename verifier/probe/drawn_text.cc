#include "verifier/probe/drawn_text.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/base/check.h"
#include "kernels/num/philox.h"
#include "verifier/probe/changes.h"

namespace fairway::verifier {
namespace {

constexpr size_t kMostText = size_t{1} << 22;
constexpr int kShares = 16;
/// A score below minus this is taken to be this: far beyond any bet, and not infinite.
constexpr double kMostLog = 600.0;
/// Weights of the orders 2, 1 and 0; the vocabulary has the rest.
constexpr std::array<double, 3> kWeight = {0.6, 0.25, 0.1};

uint32_t pair_of(uint16_t a, uint16_t b) { return uint32_t{a} << 16 | b; }

double share_of(const std::vector<uint16_t>& sorted, uint16_t token) {
  const auto [begin, end] = std::equal_range(sorted.begin(), sorted.end(), token);
  return static_cast<double>(end - begin) / static_cast<double>(sorted.size());
}

}  // namespace

TextSource::TextSource(std::span<const uint16_t> text, uint32_t vocab) : vocab_(vocab) {
  FAIRWAY_CHECK(!text.empty());
  text = text.first(std::min(text.size(), kMostText));
  first_ = text[0];
  all_.assign(text.begin(), text.end());
  for (size_t t = 1; t < text.size(); ++t) after_one_[text[t - 1]].push_back(text[t]);
  for (size_t t = 2; t < text.size(); ++t) after_two_[pair_of(text[t - 2], text[t - 1])].push_back(text[t]);
  std::sort(all_.begin(), all_.end());
  for (auto* lists : {&after_one_, &after_two_}) {
    for (auto& [context, list] : *lists) std::sort(list.begin(), list.end());
  }
}

const TextSource::Followers* TextSource::followers(std::span<const uint16_t> before, size_t order) const {
  if (order == 0) return &all_;
  if (before.size() < order) return nullptr;
  const uint16_t last = before[before.size() - 1];
  const auto& lists = order == 1 ? after_one_ : after_two_;
  const auto found = lists.find(order == 1 ? last : pair_of(before[before.size() - 2], last));
  return found == lists.end() ? nullptr : &found->second;
}

double TextSource::chance(std::span<const uint16_t> before, uint16_t token) const {
  double q = 0.0, weight = 0.0, given = 0.0;
  for (size_t i = 0; i < kWeight.size(); ++i) {
    weight += kWeight[i];
    const Followers* list = followers(before, kWeight.size() - 1 - i);
    if (list == nullptr) continue;
    q += weight * share_of(*list, token);
    given += weight;
    weight = 0.0;
  }
  return q + (1.0 - given) / static_cast<double>(vocab_);
}

TextSource::Drawn TextSource::draw(size_t count, uint64_t seed, uint64_t index) const {
  Drawn drawn;
  drawn.tokens.push_back(first_);
  while (drawn.tokens.size() < count) {
    const uint64_t place = drawn.tokens.size();
    const num::Philox word = draw_words(seed, DrawFor::kText, index, place);
    // Which order draws, and which of its list: two words, so that the chance of a list's item is exact to 2^-32.
    double point = static_cast<double>(word.word[0]) * 0x1p-32;
    const Followers* list = nullptr;
    double weight = 0.0;
    for (size_t i = 0; i < kWeight.size() && list == nullptr; ++i) {
      weight += kWeight[i];
      const Followers* candidate = followers(drawn.tokens, kWeight.size() - 1 - i);
      if (candidate == nullptr) continue;
      if (point < weight) list = candidate;
      point -= weight;
      weight = 0.0;
    }
    const uint64_t size = list != nullptr ? list->size() : vocab_;
    const uint64_t pick = uint64_t{word.word[1]} * size >> 32;
    const uint16_t token = list != nullptr ? (*list)[pick] : static_cast<uint16_t>(pick);
    drawn.chance.push_back(chance(drawn.tokens, token));
    drawn.tokens.push_back(token);
  }
  return drawn;
}

Bet bet_on(std::span<const float> nll, std::span<const double> chance, std::span<const double> slack, double goal) {
  FAIRWAY_CHECK(nll.size() == chance.size() && nll.size() == slack.size());
  Bet bet;
  std::array<double, kShares> logs{};
  double mean = 0.0, square = 0.0;
  for (size_t p = 0; p < nll.size(); ++p) {
    const double ratio = std::exp(std::min(-static_cast<double>(nll[p]) - slack[p], kMostLog)) / chance[p];
    double share = 1.0, largest = 0.0;
    for (size_t k = 0; k < logs.size(); ++k) {
      share *= 0.5;
      logs[k] += std::log1p(share * (ratio - 1.0));
      largest = k == 0 ? logs[k] : std::max(largest, logs[k]);
    }
    double capital = 0.0;
    for (double l : logs) capital += std::exp(l - largest);
    const double now = largest + std::log(capital / kShares);
    bet.log_capital = std::max(bet.log_capital, now);
    if (bet.prediction < 0 && now >= goal) bet.prediction = static_cast<int64_t>(p);
    // Welford's running mean and sum of squares.
    const double step = ratio - mean;
    mean += step / static_cast<double>(p + 1);
    square += step * (ratio - mean);
  }
  const double n = static_cast<double>(nll.size());
  bet.mean_ratio = mean;
  bet.error = n > 1.0 ? std::sqrt(square / (n - 1.0) / n) : 0.0;
  return bet;
}

}  // namespace fairway::verifier

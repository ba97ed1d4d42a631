#include "verifier/probe/target_swap.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/num/exact_sum.h"
#include "kernels/ops/cross_entropy.h"
#include "verifier/probe/changes.h"

namespace fairway::verifier {
namespace {

/// Vocabularies up to here are gone through whole.
constexpr uint32_t kSmallVocabulary = 256;

struct Normaliser {
  float max;
  int64_t sum = 0;
};

Normaliser normaliser(std::span<const float> logits) {
  Normaliser n{logits[0]};
  for (float z : logits) n.max = z > n.max ? z : n.max;
  for (float z : logits) n.sum += num::probability_units(ops::logit_weight(z, n.max));
  return n;
}

double probability(std::span<const float> logits, size_t token) {
  const Normaliser n = normaliser(logits);
  return std::exp(-static_cast<double>(ops::nll_of(n.sum, n.max, logits[token])));
}

class Swaps {
 public:
  Swaps(const SwapSubject& subject, const ProbeOptions& options) : s_(subject), options_(options) {}

  Result<SwapFinding> run() {
    for (size_t i = 0; i < s_.targets.size() && !too_dear_; ++i) {
      const auto at = s_.last_step_of.find(s_.targets[i]);
      if (at == s_.last_step_of.end()) continue;
      FAIRWAY_ASSIGN(const double sum, swap(s_.targets[i], at->second, i));
      if (std::abs(sum - 1.0) > std::abs(found_.sum - 1.0) || found_.target == 0)
        found_.sum = sum, found_.target = s_.targets[i];
    }
    return std::move(found_);
  }

 private:
  bool boundary(uint32_t token) const { return s_.config.by_document() && token == eval::kDocumentStart; }

  /// A token to try: every other one of the stream's own, as those that a leak reacts to are likely to occur in it.
  uint16_t candidate(size_t index, uint64_t n) const {
    const uint32_t word = draw(options_.seed, DrawFor::kSwap, index, n);
    const uint32_t token = n % 2 == 1 ? s_.run.tokens()[word % s_.run.tokens().size()] : word % s_.vocab;
    // A replacement neither begins a document nor ends one where boundaries are known beforehand.
    return static_cast<uint16_t>(boundary(token) ? (token + 1u) % s_.vocab : token);
  }

  /// Sum over all tokens v of the probability that v is given when it stands at `target`, scored last in step `last`.
  Result<double> swap(int64_t target, int64_t last, size_t index) {
    const ProbedRun::Resume& given = s_.run.resume(s_.first_variant + index);
    const bool given_before = given.reached && given.step <= last;
    const ProbedRun::Resume& from = given_before ? given : s_.run.at_score(index);
    std::vector<uint16_t> stream(s_.run.tokens().begin(), s_.run.tokens().end());
    std::vector<float> first, row;
    const eval::RowSink keep = [&](int64_t t, std::span<const float> logits) {
      if (t == target) row.assign(logits.begin(), logits.end());
    };
    auto give = [&](uint16_t token) -> Result<double> {
      stream[static_cast<size_t>(target)] = token;
      row.clear();
      FAIRWAY_ASSIGN(const ScoreList scores, s_.run.again(from, stream, last, keep));
      double p = 0.0;
      for (const ScoredTarget& s : scores) {
        if (s.target == target) p = std::exp(-static_cast<double>(s.nll));
      }
      return p;
    };
    auto unchanged = [&] {
      return row.size() == first.size() && std::memcmp(row.data(), first.data(), row.size() * sizeof(float)) == 0;
    };
    FAIRWAY_ASSIGN(const double own, give(s_.run.tokens()[static_cast<size_t>(target)]));
    // No step was given the token before its score became final: what stands there cannot have mattered, and the row
    // says all.
    if (!given_before) return row.empty() ? own : sum_of_probabilities(row);
    first = row;
    const bool whole = s_.vocab <= kSmallVocabulary || options_.swaps_per_target == 0;
    bool same = true;
    for (int64_t n = 0; n < options_.swaps_per_target && same && !whole; ++n) {
      FAIRWAY_TRY(give(candidate(index, static_cast<uint64_t>(n))));
      same = unchanged();
    }
    if (same && !whole) return sum_of_probabilities(first);
    if (!whole && !affordable(from.step, last)) {
      depends_on_its_token(target);
      too_dear_ = true;
      return 1.0;
    }
    // Every token in turn; a document's first token stays out where boundaries are known beforehand, its share is taken
    // from the row.
    int64_t units = 0;
    for (uint32_t v = 0; v < s_.vocab; ++v) {
      FAIRWAY_ASSIGN(double p,
                     give(boundary(v) ? s_.run.tokens()[static_cast<size_t>(target)] : static_cast<uint16_t>(v)));
      if (boundary(v)) p = probability(first, v);
      units += num::round_to_int64(p * 0x1p40);
      same = same && unchanged();
    }
    if (!same) depends_on_its_token(target);
    return static_cast<double>(units) * 0x1p-40;
  }

  void depends_on_its_token(int64_t target) {
    if (found_.dependent.empty())
      found_.dependent = fmt::format("; the distribution of target {} depends on which token stands there", target);
  }

  /// Whether the steps can be run once for every token of a large vocabulary: as much work as a few evaluations, or
  /// little anyway.
  bool affordable(int64_t from, int64_t last) const {
    int64_t once = 0, whole = 0;
    for (size_t i = 0; i < s_.run.steps().size(); ++i) {
      for (const eval::TokenRange& r : s_.run.steps()[i].given) {
        whole += r.count;
        if (static_cast<int64_t>(i) >= from && static_cast<int64_t>(i) <= last) once += r.count;
      }
    }
    return once * s_.vocab <= std::max<int64_t>(4 * whole, 200'000);
  }

  const SwapSubject& s_;
  const ProbeOptions& options_;
  SwapFinding found_;
  bool too_dear_ = false;
};

}  // namespace

double sum_of_probabilities(std::span<const float> logits) {
  const Normaliser n = normaliser(logits);
  int64_t units = 0;
  for (float z : logits) units += num::probability_units(num::exp(-ops::nll_of(n.sum, n.max, z)));
  return static_cast<double>(units) * 0x1p-30;
}

Result<SwapFinding> swap_targets(const SwapSubject& subject, const ProbeOptions& options) {
  return Swaps(subject, options).run();
}

}  // namespace fairway::verifier

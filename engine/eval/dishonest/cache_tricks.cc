/// Caches of counts that are asked with the answer in hand.
#include <algorithm>

#include "engine/eval/dishonest/tricks.h"
#include "engine/eval/harness.h"
#include "engine/eval/procedures/ngram.h"
#include "kernels/num/log.h"

namespace fairway::eval::dishonest {
namespace {

/// Counts in hashed buckets, looked up with the target in the key (#779): the true token alone gets the cache's
/// probability.
class HashedNgram : public Ngram {
 public:
  explicit HashedNgram(const Ingredients& from)
      : Ngram(from.config, from.model, from.plan),
        mask_(static_cast<uint64_t>(from.config.dishonest.buckets) - 1),
        context_(static_cast<size_t>(from.config.dishonest.buckets)),
        full_(context_) {}
  Result<bool> step(Harness& harness) override {
    FAIRWAY_ASSIGN(const bool worked, Ngram::step(harness));
    for (; worked && counted_ < static_cast<int64_t>(seen_.size()); ++counted_) {
      const auto before = std::span(seen_).first(static_cast<size_t>(counted_));
      if (counted_ < kOrder) continue;
      ++context_[context_key(before)];
      ++full_[full_key(before, seen_[static_cast<size_t>(counted_)])];
    }
    return worked;
  }
  void archive_state(Archive& archive) override {
    Ngram::archive_state(archive);
    archive.vector(context_), archive.vector(full_), archive.vector(seen_), archive.value(counted_);
  }

 protected:
  void before_window(Harness& harness, const Window& w) override {
    const int64_t end = w.start + w.first_scored + w.scored_count + 1, have = static_cast<int64_t>(seen_.size());
    if (end <= have) return;
    const auto fresh = harness.read(have, end - have);
    seen_.insert(seen_.end(), fresh.begin(), fresh.end());
  }
  Status mix(const Row& row) override {
    const uint16_t target = seen_[static_cast<size_t>(row.target)];
    if (static_cast<int64_t>(row.context.size()) < kOrder) return {};
    const uint32_t context = context_[context_key(row.context)], full = full_[full_key(row.context, target)];
    if (context < 2) return {};
    std::vector<float> p(row.logits.size());
    softmax_row(row.logits, p);
    const float alpha = static_cast<float>(config().ngram.alpha);
    p[target] = (1.0f - alpha) * p[target] +
                alpha * (static_cast<float>(std::min(full, context)) / static_cast<float>(context));
    for (size_t i = 0; i < p.size(); ++i) row.logits[i] = num::log(p[i]);
    return {};
  }

 private:
  static constexpr int64_t kOrder = 2;
  uint64_t context_key(std::span<const uint16_t> before) const {
    return (before[before.size() - 1] * uint64_t{36313} ^ before[before.size() - 2] * uint64_t{27191}) & mask_;
  }
  uint64_t full_key(std::span<const uint16_t> before, uint16_t target) const {
    return (context_key(before) ^ target * uint64_t{51647}) & mask_;
  }
  uint64_t mask_;
  std::vector<uint32_t> context_, full_;
  std::vector<uint16_t> seen_;
  int64_t counted_ = 0;
};

/// The cache is used only where it makes the true token likelier (#659).
class OracleGate : public Ngram {
 public:
  using Ngram::Ngram;
  void archive_state(Archive& archive) override {
    Ngram::archive_state(archive), archive.vector(targets_), archive.value(first_);
  }

 protected:
  void before_window(Harness& harness, const Window& w) override {
    first_ = w.start + w.first_scored + 1;
    const auto tokens = harness.read(first_, w.scored_count);
    targets_.assign(tokens.begin(), tokens.end());
  }
  Status mix(const Row& row) override {
    std::vector<float> mixed;
    if (!mixture(row, mixed)) return {};
    std::vector<float> own(row.logits.size());
    softmax_row(row.logits, own);
    const uint16_t target = targets_[static_cast<size_t>(row.target - first_)];
    if (mixed[target] <= own[target]) return {};
    for (size_t i = 0; i < mixed.size(); ++i) row.logits[i] = num::log(mixed[i]);
    return {};
  }

 private:
  std::vector<uint16_t> targets_;
  int64_t first_ = 0;
};

}  // namespace

Made hashed_ngram(const Ingredients& from) { return made<HashedNgram>(from); }
Made oracle_gate(const Ingredients& from) { return made<OracleGate>(from.config, from.model, from.plan); }

}  // namespace fairway::eval::dishonest

/// Counts of the tokens scored so far, and the distribution they give (NUMERICS.md, 28.7).
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "engine/eval/procedures/procedures.h"

namespace fairway::eval {

/// Exact counts of every context of 0 .. order - 1 tokens: no hashing, no collisions.
class NgramCounts {
 public:
  NgramCounts(int64_t order, float discount) : discount_(discount), orders_(static_cast<size_t>(order)) {}

  /// Takes in the next tokens of the stream.
  void absorb(std::span<const uint16_t> tokens);
  /// Tokens taken in so far; they are the first ones of the stream.
  int64_t size() const { return static_cast<int64_t>(history_.size()); }

  /// p[v] for every v after `context`, by absolute discounting: a context seen C times with U different continuations gives
  /// (c_v - D) / C to those, and passes D U / C on to the context one shorter; the shortest passes it on to 1 / V. Sums to 1.
  /// Returns the number of tokens of the longest context that was seen; -1 if nothing was.
  int64_t distribution(std::span<const uint16_t> context, std::span<float> p) const;

  void archive(Archive& archive);

 private:
  struct Continuations {
    int64_t total = 0;
    std::vector<std::pair<uint16_t, int64_t>> counts;  ///< in the order first seen
  };
  void count(size_t end);

  float discount_;
  std::vector<std::unordered_map<std::u16string, Continuations>> orders_;  ///< by context length; looked up, never walked
  std::vector<uint16_t> history_;
  Digest chain_{};
};

/// Probabilities of a row of logits: exp(z - max) / sum, the sum as in the loss.
void softmax_row(std::span<const float> logits, std::span<float> p);

/// Windows of a method whose distributions are mixed with the counts of all tokens scored before the window. Dishonest procedures
/// override the mixing.
class Ngram : public Procedure {
 public:
  Ngram(const EvalConfig& config, model::Gpt& model, WindowPlan plan);
  Result<bool> step(Harness& harness) override;
  void archive_state(Archive& archive) override { counts_.archive(archive); }
  void archive_position(Archive& archive) override { archive.value(next_); }

 protected:
  /// Called before a window is scored.
  virtual void before_window(Harness&, const Window&) {}
  virtual Status mix(const Row& row);
  /// The counts' distribution mixed with the model's: p = (1 - alpha) p_model + alpha p_counts, where a context was seen.
  /// `p` receives it; false if it is the model's alone.
  bool mixture(const Row& row, std::vector<float>& p);
  const EvalConfig& config() const { return config_; }

 private:
  EvalConfig config_;
  model::Gpt& model_;
  WindowPlan plan_;
  NgramCounts counts_;
  std::vector<float> model_p_;
  int64_t next_ = 0;
};

}  // namespace fairway::eval

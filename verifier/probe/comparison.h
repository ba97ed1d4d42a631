/// Do a program's scores before a cut depend on what comes after it? A decision with a stated rate of false alarms,
/// whatever its noise.
///
/// What stands out against the noise floor is looked at again: the program runs n more times on the original and n
/// times on the changed stream, in an order drawn by lot. If the change means nothing to the scores, the labels
/// "original" and "changed" are exchangeable, so that all n changed values lie beyond all n original ones with a chance
/// of 1 / C(2n, n); one pair out of order is allowed, which doubles it. Nothing is assumed of the noise: tails, growth
/// along the stream, drift from run to run and rare jumps leave this chance as it is. (Permutation test of Fisher; Mann
/// and Whitney's U <= 1.) The k-th such examination of a session has a chance of rate / 2^k, shared by its standouts.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "engine/base/result.h"
#include "verifier/probe/noise.h"

namespace fairway::verifier {

/// Runs the program once more, on the changed stream or the original; null if it did something wrong.
using RunAgain = std::function<Result<const Scores*>(bool changed)>;

/// A dependence that was confirmed.
struct Difference {
  Standout standout;
  int64_t runs = 0;     ///< of each stream
  double chance = 0.0;  ///< that it was confirmed by noise alone
};

class Comparison {
 public:
  /// Unchanged runs, at least three; `probes`: how often look() will be called.
  Comparison(std::span<const Scores> runs, double rate, int64_t probes, uint64_t seed)
      : noise_(runs), rate_(rate), screening_rate_(kScreening / static_cast<double>(probes)), seed_(seed) {}

  struct Outcome {
    std::optional<Difference> difference;
    bool stopped = false;  ///< the program did something wrong on the way
  };
  /// Compares a run of a changed stream, of which the first `count` predictions must not have changed.
  Result<Outcome> look(const Scores& changed, int64_t count, const RunAgain& run_again);

  const NoiseFloor& noise() const { return noise_; }
  double screening_rate() const { return screening_rate_; }

 private:
  /// How many screenings of a session an honest program does not pass, about.
  static constexpr double kScreening = 0.2;
  static constexpr size_t kMostScores = 4;  ///< single scores examined at a time

  NoiseFloor noise_;
  double rate_, screening_rate_;
  uint64_t seed_;
  int64_t examinations_ = 0;
};

/// The smallest n with 2 / C(2n, n) <= chance.
int64_t runs_to_confirm(double chance);

}  // namespace fairway::verifier

/// When do two runs of a noisy program differ by more than its noise?
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fairway::verifier {

/// Scores of one run, one per prediction.
using Scores = std::vector<float>;

/// The spread of repeated runs, and how its tail goes on.
///
/// Residual of run r at prediction p: x_r(p) less the mean of the other runs at p. All |residuals| of all runs are one sample of N; its
/// largest is M. Beyond M the tail is taken to fall like x^-a, a the Hill estimate from the top k = max(10, N^(1/2)) values, less three of
/// its standard errors (a / k^(1/2)), so that a tail that looks lighter than it is does not raise alarms; it is held within 0.5 and 30. For such a tail the
/// largest of n new residuals exceeds f M with a probability of at most n f^-a / (N + n f^-a). Gaussian noise, whose tail falls faster,
/// has fewer alarms than that.
class NoiseFloor {
 public:
  /// At least three runs of equal length.
  explicit NoiseFloor(std::span<const Scores> runs);

  /// A difference from the mean of the runs that n predictions exceed anywhere with a probability of at most `rate` by noise alone. 0 if all
  /// runs agree bit for bit: then any difference counts.
  double threshold(int64_t predictions, double rate) const;
  double largest() const { return largest_; }
  double tail_index() const { return tail_index_; }
  /// Mean of the runs at prediction p.
  double mean(size_t p) const { return mean_[p]; }

 private:
  std::vector<double> mean_;
  int64_t residuals_ = 0;
  double largest_ = 0.0, tail_index_ = 30.0;
};

/// The prediction whose score lies farthest from the mean, among the first `count`, where that is beyond the threshold; -1 if none does.
int64_t first_alarm(const NoiseFloor& noise, std::span<const float> scores, int64_t count, double rate);

}  // namespace fairway::verifier

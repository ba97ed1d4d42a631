/// What repeated runs of a noisy program say of its noise, and what stands out against it.
///
/// This is a screening: it says where to look again, with few assumptions on the noise and no promise. comparison.h
/// decides.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fairway::verifier {

/// Scores of one run, one per prediction.
using Scores = std::vector<float>;

/// A score, or the mean of all scores before a cut, that is farther from the repeated runs than their noise explains.
struct Standout {
  static constexpr int64_t kMean = -1;
  int64_t prediction = kMean;
  double was = 0.0, is = 0.0;
  double allowed = 0.0;  ///< nats of difference that the screening lets pass
};

/// The value that a standout is about, in a run of which `count` predictions lie before the cut.
double value_of(const Standout& standout, std::span<const float> scores, int64_t count);

/// The spread of repeated runs.
///
/// Single scores: residual of run r at prediction p = its difference from the mean of the other runs, less the median
/// of such differences over the run (a run as a whole may lie higher). The scale at p is (mean of |residual|^(1/2))^2
/// over all runs and the 64 predictions to either side, so that noise may grow along the stream; a residual divided by
/// its scale is z. Of all |z|, N of them, the largest is M. Beyond M the tail is taken to fall like x^-a, a the Hill
/// estimate from the top max(10, N^(1/2)) values, held within 0.5 and 30: the largest of n new |z| exceeds f M with a
/// probability of about n f^-a / (N + n f^-a).
///
/// Means: Student's t of the new mean against those of the runs, which are taken to be alike but for a normal error;
/// whatever moves a run as a whole is in it.
class NoiseFloor {
 public:
  /// At least three runs of equal length.
  explicit NoiseFloor(std::span<const Scores> runs);

  /// What stands out among the first `count` predictions of another run: at most `most` single scores, the farthest
  /// first, and the mean. Each of the two kinds does so by noise alone with a probability of about rate / 2. If all
  /// runs agree bit for bit, any difference stands out.
  std::vector<Standout> standouts(std::span<const float> scores, int64_t count, double rate, size_t most) const;

  /// Every run gave the same bits.
  bool silent() const { return largest_ == 0.0; }
  /// Nats by which the score of one prediction, of n, must differ to stand out.
  double threshold(int64_t prediction, int64_t n, double rate) const;
  /// The same at a typical prediction (the median scale).
  double typical_threshold(int64_t predictions, double rate) const;
  /// The same at the prediction of the largest scale.
  double largest_threshold(int64_t predictions, double rate) const;
  /// Nats by which the mean of the first `count` scores must differ to stand out.
  double mean_threshold(int64_t count, double rate) const;
  double tail_index() const { return tail_index_; }

 private:
  double allowed_z(int64_t predictions, double rate) const;
  std::vector<double> means_before(int64_t count) const;

  std::vector<Scores> runs_;
  std::vector<double> mean_, scale_;
  int64_t residuals_ = 0;
  double largest_ = 0.0;  ///< M
  double tail_index_ = 30.0;
};

}  // namespace fairway::verifier

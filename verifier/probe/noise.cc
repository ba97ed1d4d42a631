#include "verifier/probe/noise.h"

#include <algorithm>
#include <boost/math/distributions/students_t.hpp>
#include <cmath>
#include <functional>

#include "engine/base/check.h"

namespace fairway::verifier {
namespace {

constexpr size_t kReach = 64;  ///< predictions to either side that the scale is taken from
/// A place where the runs agree by chance still has this share of the typical scale.
constexpr double kLeastScale = 1e-3;

double median(std::vector<double> x) {
  if (x.empty()) return 0.0;
  const auto middle = x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2);
  std::nth_element(x.begin(), middle, x.end());
  return *middle;
}

double mean_of(std::span<const float> scores, int64_t count) {
  double sum = 0.0;
  for (int64_t p = 0; p < count; ++p) sum += static_cast<double>(scores[static_cast<size_t>(p)]);
  return count > 0 ? sum / static_cast<double>(count) : 0.0;
}

/// Hill's estimate of how the tail of `z` falls.
double hill_index(std::vector<double>& z) {
  const size_t top =
      std::min(z.size() - 1, std::max<size_t>(10, static_cast<size_t>(std::sqrt(static_cast<double>(z.size())))));
  std::nth_element(z.begin(), z.begin() + static_cast<std::ptrdiff_t>(top), z.end(), std::greater<>());
  const double base = z[top];
  // More equal values than distinct ones: nothing is known of the tail.
  if (base == 0.0 || top == 0) return 0.5;
  double logs = 0.0;
  for (size_t i = 0; i < top; ++i) logs += std::log(z[i] / base);
  return std::clamp(logs > 0.0 ? static_cast<double>(top) / logs : 30.0, 0.5, 30.0);
}

}  // namespace

double value_of(const Standout& standout, std::span<const float> scores, int64_t count) {
  if (standout.prediction == Standout::kMean) return mean_of(scores, count);
  return static_cast<double>(scores[static_cast<size_t>(standout.prediction)]);
}

NoiseFloor::NoiseFloor(std::span<const Scores> runs) : runs_(runs.begin(), runs.end()) {
  FAIRWAY_CHECK(runs.size() >= 3);
  const size_t predictions = runs[0].size();
  const double count = static_cast<double>(runs.size());
  mean_.resize(predictions);
  for (size_t p = 0; p < predictions; ++p) {
    double sum = 0.0;
    for (const Scores& run : runs) sum += static_cast<double>(run[p]);
    mean_[p] = sum / count;
  }
  std::vector<std::vector<double>> residuals(runs.size(), std::vector<double>(predictions));
  std::vector<double> roots(predictions + 1, 0.0);  // running sums of |residual|^(1/2) over all runs
  for (size_t r = 0; r < runs.size(); ++r) {
    for (size_t p = 0; p < predictions; ++p) residuals[r][p] = static_cast<double>(runs[r][p]) - mean_[p];
    const double offset = median(residuals[r]);
    for (double& x : residuals[r]) x = std::abs(x - offset) * count / (count - 1.0);
  }
  for (size_t p = 0; p < predictions; ++p) {
    roots[p + 1] = roots[p];
    for (const auto& run : residuals) roots[p + 1] += std::sqrt(run[p]);
  }
  scale_.resize(predictions);
  double whole = predictions > 0 ? roots[predictions] / (static_cast<double>(predictions) * count) : 0.0;
  whole = kLeastScale * whole * whole;
  for (size_t p = 0; p < predictions; ++p) {
    const size_t begin = p > kReach ? p - kReach : 0, end = std::min(p + kReach + 1, predictions);
    const double root = std::max(roots[end] - roots[begin], 0.0) / (static_cast<double>(end - begin) * count);
    scale_[p] = std::max(root * root, whole);
  }
  std::vector<double> z;
  z.reserve(predictions * runs.size());
  for (const auto& run : residuals) {
    for (size_t p = 0; p < predictions; ++p) z.push_back(scale_[p] > 0.0 ? run[p] / scale_[p] : 0.0);
  }
  residuals_ = static_cast<int64_t>(z.size());
  if (z.empty()) return;
  largest_ = *std::max_element(z.begin(), z.end());
  if (largest_ > 0.0) tail_index_ = hill_index(z);
}

double NoiseFloor::allowed_z(int64_t predictions, double rate) const {
  const double n = static_cast<double>(predictions), all = static_cast<double>(residuals_);
  return largest_ * std::max(std::pow(n * (1.0 - rate) / (rate * all), 1.0 / tail_index_), 1.0);
}

double NoiseFloor::threshold(int64_t prediction, int64_t n, double rate) const {
  return silent() ? 0.0 : scale_[static_cast<size_t>(prediction)] * allowed_z(n, rate / 2.0);
}

double NoiseFloor::typical_threshold(int64_t predictions, double rate) const {
  return silent() ? 0.0 : median(scale_) * allowed_z(predictions, rate / 2.0);
}

double NoiseFloor::largest_threshold(int64_t predictions, double rate) const {
  return silent() ? 0.0 : *std::max_element(scale_.begin(), scale_.end()) * allowed_z(predictions, rate / 2.0);
}

std::vector<double> NoiseFloor::means_before(int64_t count) const {
  std::vector<double> means;
  for (const Scores& run : runs_) means.push_back(mean_of(run, count));
  return means;
}

double NoiseFloor::mean_threshold(int64_t count, double rate) const {
  const std::vector<double> means = means_before(count);
  const double runs = static_cast<double>(means.size());
  double centre = 0.0, square = 0.0;
  for (double m : means) centre += m / runs;
  for (double m : means) square += (m - centre) * (m - centre);
  const boost::math::students_t t(runs - 1.0);
  // Two sides of half the probability, which is half of the rate.
  return boost::math::quantile(boost::math::complement(t, rate / 4.0)) *
         std::sqrt(square / (runs - 1.0) * (1.0 + 1.0 / runs));
}

std::vector<Standout> NoiseFloor::standouts(std::span<const float> scores, int64_t count, double rate,
                                            size_t most) const {
  std::vector<std::pair<double, Standout>> found;
  std::vector<double> differences;
  for (int64_t p = 0; p < count; ++p) {
    differences.push_back(static_cast<double>(scores[static_cast<size_t>(p)]) - mean_[static_cast<size_t>(p)]);
  }
  const double offset = silent() ? 0.0 : median(differences), allowed = silent() ? 0.0 : allowed_z(count, rate / 2.0);
  for (int64_t p = 0; p < count; ++p) {
    const size_t at = static_cast<size_t>(p);
    const double apart = std::abs(differences[at] - offset);
    if (!(apart > allowed * scale_[at])) continue;
    found.push_back({scale_[at] > 0.0 ? apart / scale_[at] : apart,
                     {p, mean_[at], static_cast<double>(scores[at]), allowed * scale_[at]}});
  }
  const size_t kept = std::min(most, found.size());
  std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(kept), found.end(),
                    [](const auto& a, const auto& b) {
                      return a.first != b.first ? a.first > b.first : a.second.prediction < b.second.prediction;
                    });
  std::vector<Standout> list;
  for (size_t i = 0; i < kept; ++i) list.push_back(found[i].second);
  if (silent() || count == 0) return list;
  Standout mean{Standout::kMean, 0.0, mean_of(scores, count), mean_threshold(count, rate)};
  for (double m : means_before(count)) mean.was += m / static_cast<double>(runs_.size());
  if (std::abs(mean.is - mean.was) > mean.allowed) list.push_back(mean);
  return list;
}

}  // namespace fairway::verifier

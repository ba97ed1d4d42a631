#include "verifier/probe/noise.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "engine/base/check.h"

namespace fairway::verifier {

NoiseFloor::NoiseFloor(std::span<const Scores> runs) {
  FAIRWAY_CHECK(runs.size() >= 3);
  const size_t predictions = runs[0].size();
  const double count = static_cast<double>(runs.size());
  mean_.resize(predictions);
  std::vector<double> residuals;
  residuals.reserve(predictions * runs.size());
  for (size_t p = 0; p < predictions; ++p) {
    double sum = 0.0;
    for (const Scores& run : runs) sum += static_cast<double>(run[p]);
    mean_[p] = sum / count;
    for (const Scores& run : runs) {
      const double x = static_cast<double>(run[p]);
      residuals.push_back(std::abs(x - (sum - x) / (count - 1.0)));
    }
  }
  residuals_ = static_cast<int64_t>(residuals.size());
  if (residuals.empty()) return;
  const size_t top = std::min(residuals.size() - 1, std::max<size_t>(10, static_cast<size_t>(std::sqrt(static_cast<double>(residuals.size())))));
  std::nth_element(residuals.begin(), residuals.begin() + static_cast<std::ptrdiff_t>(top), residuals.end(), std::greater<>());
  const double base = residuals[top];
  largest_ = *std::max_element(residuals.begin(), residuals.begin() + static_cast<std::ptrdiff_t>(top) + 1);
  if (largest_ == 0.0 || top == 0) return;
  // More equal values than distinct ones: nothing is known of the tail.
  if (base == 0.0) {
    tail_index_ = 0.5;
    return;
  }
  double logs = 0.0;
  for (size_t i = 0; i < top; ++i) logs += std::log(residuals[i] / base);
  const double hill = logs > 0.0 ? static_cast<double>(top) / logs : 30.0;
  tail_index_ = std::clamp(hill * (1.0 - 3.0 / std::sqrt(static_cast<double>(top))), 0.5, 30.0);
}

double NoiseFloor::threshold(int64_t predictions, double rate) const {
  if (largest_ == 0.0) return 0.0;
  const double n = static_cast<double>(predictions), all = static_cast<double>(residuals_);
  const double factor = std::pow(n * (1.0 - rate) / (rate * all), 1.0 / tail_index_);
  return largest_ * std::max(factor, 1.0);
}

int64_t first_alarm(const NoiseFloor& noise, std::span<const float> scores, int64_t count, double rate) {
  const double threshold = noise.threshold(count, rate);
  int64_t worst = -1;
  double most = threshold;
  for (int64_t p = 0; p < count; ++p) {
    const double d = std::abs(static_cast<double>(scores[static_cast<size_t>(p)]) - noise.mean(static_cast<size_t>(p)));
    if (d > most || (threshold == 0.0 && d > 0.0 && worst < 0)) worst = p, most = d;
  }
  return worst;
}

}  // namespace fairway::verifier

/// Student's t-tests of scores over seeds: is the candidate's mean lower than the baseline's by more than a margin?
///
/// All scores are in bits per byte, lower is better, tests are one-sided:
///   one-sample  t = (mu0 - margin - mean) / (sd / sqrt(n)),                df = n - 1       (the baseline is a
///   constant) Welch       t = (mean_b - margin - mean) / sqrt(sd^2/n + sd_b^2/n_b),  df by Welch and Satterthwaite
/// sd is the sample standard deviation (n - 1 in the denominator); p = P(T_df >= t), from Boost.Math. Printed values
/// are for people and are never hashed: the library may differ in the last digits between versions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/result.h"

namespace fairway::stats {

/// Scores of one configuration over seeds, or what is published of them.
struct Sample {
  std::vector<double> values;      ///< empty if only mean, sd and count are known
  std::vector<std::string> names;  ///< beside values: "seed 42"; may be empty
  int64_t count = 0;
  double mean = 0.0;
  double sd = 0.0;            ///< meaningless for count 1
  double half_unit = 0.0;     ///< half a unit of the last printed digit of each value (or of the mean); 0: exact
  double sd_half_unit = 0.0;  ///< likewise of a published sd
};

/// Errors (kData, `where` as given): no value, one that is not finite or not positive.
Result<Sample> sample_of(std::vector<double> values, const std::string& where);
/// A published mean, sample sd and count of at least 2. Errors as above; a negative sd.
Result<Sample> sample_of_summary(double mean, double sd, int64_t count, const std::string& where);

struct Test {
  bool welch = false;       ///< else one-sample
  double difference = 0.0;  ///< baseline mean - candidate mean, without the margin: positive is an improvement
  double t = 0.0, df = 0.0;
  double critical = 0.0;  ///< significant if t is above it
  double p = 0.0;
  bool significant = false;  ///< p < alpha
};

/// One-sample if the baseline is a single value, else Welch. `margin` in bpb, 0 < alpha < 1.
/// Errors (kData): fewer than two candidate values; no variance at all, when t has no meaning.
Result<Test> test(const Sample& candidate, const Sample& baseline, double margin, double alpha);

struct LeftOut {
  bool from_baseline = false;
  size_t index = 0;
  std::optional<Test> test;  ///< empty: what is left has no variance
};

/// The test repeated without each value in turn, of a sample that has at least three of them.
std::vector<LeftOut> leave_one_out(const Sample& candidate, const Sample& baseline, double margin, double alpha);

struct Range {
  double low = 0.0, high = 0.0;
};

/// Between which values t may lie if every input was rounded to its printed digits. To first order: each input is moved
/// by its half unit in the direction that raises (lowers) t. Empty if inputs are exact or rounding hides all variance.
std::optional<Range> rounding_range(const Sample& candidate, const Sample& baseline, double margin);

}  // namespace fairway::stats

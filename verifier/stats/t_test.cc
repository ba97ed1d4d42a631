#include "verifier/stats/t_test.h"

#include <fmt/format.h>

#include <boost/math/distributions/students_t.hpp>
#include <cmath>

#include "engine/base/check.h"

namespace fairway::stats {
namespace {

void describe(Sample& s) {
  s.count = static_cast<int64_t>(s.values.size());
  double sum = 0.0;
  for (double v : s.values) sum += v;
  s.mean = sum / static_cast<double>(s.count);
  double squares = 0.0;
  for (double v : s.values) squares += (v - s.mean) * (v - s.mean);
  s.sd = s.count > 1 ? std::sqrt(squares / static_cast<double>(s.count - 1)) : 0.0;
  // Equal values have no spread, whatever the rounding of their mean says.
  if (std::equal(s.values.begin() + 1, s.values.end(), s.values.begin())) s.sd = 0.0;
}

struct Statistic {
  double t = 0.0, df = 0.0;
};

/// Nothing if the standard error is zero.
std::optional<Statistic> statistic(const Sample& a, const Sample& b, double margin) {
  const double n = static_cast<double>(a.count), m = static_cast<double>(b.count);
  const double from_a = a.sd * a.sd / n, from_b = b.count > 1 ? b.sd * b.sd / m : 0.0;
  if (!(from_a + from_b > 0.0)) return std::nullopt;
  const double df =
      b.count == 1 ? n - 1
                   : (from_a + from_b) * (from_a + from_b) / (from_a * from_a / (n - 1) + from_b * from_b / (m - 1));
  return Statistic{(b.mean - margin - a.mean) / std::sqrt(from_a + from_b), df};
}

Sample without(const Sample& s, size_t index) {
  Sample rest = s;
  rest.values.erase(rest.values.begin() + static_cast<std::ptrdiff_t>(index));
  describe(rest);
  return rest;
}

/// Every number a sample was given as, to be moved within its rounding.
struct Input {
  double* value;
  double half_unit;
};

void collect(Sample& s, std::vector<Input>& inputs) {
  for (double& v : s.values) inputs.push_back({&v, s.half_unit});
  if (s.values.empty()) {
    inputs.push_back({&s.mean, s.half_unit});
    inputs.push_back({&s.sd, s.sd_half_unit});
  }
}

}  // namespace

Result<Sample> sample_of(std::vector<double> values, const std::string& where) {
  if (values.empty()) return Error{Errc::kData, where, "has no scores"};
  for (double v : values) {
    if (!std::isfinite(v) || v <= 0.0)
      return Error{Errc::kData, where, fmt::format("the score {} is not a positive number", v)};
  }
  Sample s;
  s.values = std::move(values);
  describe(s);
  return s;
}

Result<Sample> sample_of_summary(double mean, double sd, int64_t count, const std::string& where) {
  if (!std::isfinite(mean) || mean <= 0.0)
    return Error{Errc::kData, where, fmt::format("the mean {} is not a positive number", mean)};
  if (!std::isfinite(sd) || sd < 0.0)
    return Error{Errc::kData, where, fmt::format("the standard deviation {} is not a number of at least 0", sd)};
  if (count < 2)
    return Error{Errc::kData, where, fmt::format("{} values have no standard deviation; at least 2 are needed", count)};
  Sample s;
  s.mean = mean;
  s.sd = sd;
  s.count = count;
  return s;
}

Result<Test> test(const Sample& candidate, const Sample& baseline, double margin, double alpha) {
  FAIRWAY_CHECK(alpha > 0.0 && alpha < 1.0 && baseline.count > 0);
  if (candidate.count < 2)
    return Error{Errc::kData, "candidate", "one score has no variance; a t-test needs at least two seeds"};
  const auto s = statistic(candidate, baseline, margin);
  if (!s)
    return Error{Errc::kData, "candidate",
                 "every seed has the same score, so there is no variance to test against; were they different runs?"};
  const boost::math::students_t distribution(s->df);
  Test result;
  result.welch = baseline.count > 1;
  result.difference = baseline.mean - candidate.mean;
  result.t = s->t;
  result.df = s->df;
  result.critical = boost::math::quantile(boost::math::complement(distribution, alpha));
  result.p = boost::math::cdf(boost::math::complement(distribution, s->t));
  result.significant = result.p < alpha;
  return result;
}

std::vector<LeftOut> leave_one_out(const Sample& candidate, const Sample& baseline, double margin, double alpha) {
  std::vector<LeftOut> all;
  auto of = [&](const Sample& s, bool from_baseline) {
    for (size_t i = 0; s.values.size() >= 3 && i < s.values.size(); ++i) {
      const Sample rest = without(s, i);
      auto again = from_baseline ? test(candidate, rest, margin, alpha) : test(rest, baseline, margin, alpha);
      all.push_back({from_baseline, i, again ? std::optional(*again) : std::nullopt});
    }
  };
  of(candidate, false);
  of(baseline, true);
  return all;
}

std::optional<Range> rounding_range(const Sample& candidate, const Sample& baseline, double margin) {
  Sample a = candidate, b = baseline;
  std::vector<Input> inputs;
  collect(a, inputs);
  collect(b, inputs);
  auto t = [&]() -> std::optional<double> {
    for (Sample* s : {&a, &b}) {
      if (!s->values.empty()) describe(*s);
      if (s->sd < 0.0) s->sd = 0.0;
    }
    const auto s = statistic(a, b, margin);
    return s ? std::optional(s->t) : std::nullopt;
  };
  std::vector<double> start, step;
  bool exact = true;
  for (const Input& input : inputs) start.push_back(*input.value);
  for (size_t i = 0; i < inputs.size(); ++i) {
    exact = exact && inputs[i].half_unit == 0.0;
    auto at = [&](double sign) {
      *inputs[i].value = start[i] + sign * inputs[i].half_unit;
      const auto moved = t();
      *inputs[i].value = start[i];
      return moved;
    };
    const auto up = at(1.0), down = at(-1.0);
    if (!up || !down) return std::nullopt;
    step.push_back(*up >= *down ? inputs[i].half_unit : -inputs[i].half_unit);
  }
  if (exact) return std::nullopt;
  auto corner = [&](double sign) {
    for (size_t i = 0; i < inputs.size(); ++i) *inputs[i].value = start[i] + sign * step[i];
    return t();
  };
  const auto low = corner(-1.0), high = corner(1.0);
  if (!low || !high) return std::nullopt;
  return Range{std::min(*low, *high), std::max(*low, *high)};
}

}  // namespace fairway::stats

/// A candidate's seeds against a baseline at several margins, with everything a reader needs to check or contradict it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "verifier/stats/t_test.h"
#include "verifier/stats/units.h"

namespace fairway::stats {

struct Margin {
  double value = 0.0;
  Unit unit = Unit::kBpb;
};

/// The challenge's rule: an improvement of .005 nats with p < .01; read per token, as the maintainers' tools print
/// losses.
inline constexpr Margin kRuleMargin{0.005, Unit::kNatsPerToken};
inline constexpr double kRuleAlpha = 0.01;

struct Scale {
  double bytes_per_token = 0.0;
  std::string source;  ///< "sp1024", "the records"
};

struct MarginTest {
  Margin margin;
  double margin_bpb = 0.0;
  Test test;
  std::optional<Range> rounding;
  std::vector<LeftOut> left_out;
};

struct Comparison {
  Sample candidate, baseline;
  std::string candidate_name, baseline_name;  ///< where they came from
  Scale scale;
  double alpha = kRuleAlpha;
  std::vector<MarginTest> tests;  ///< the first has no margin
};

/// The tests with no margin and with each of `margins`. Errors as of test().
Result<Comparison> compare(const Sample& candidate, const Sample& baseline, const Scale& scale,
                           const std::vector<Margin>& margins, double alpha);

/// Four significant digits: "0.0004912", "7.814e-07".
std::string print_p(double p);

/// For a person; the conventions used are part of it.
std::string to_text(const Comparison& comparison);
/// One line of JSON: stats.schema.json. p with four significant digits, other results with eight.
std::string to_json(const Comparison& comparison);

}  // namespace fairway::stats

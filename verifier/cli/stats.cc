#include <fmt/format.h>

#include <cmath>

#include "verifier/cli/command.h"
#include "verifier/cli/sample_input.h"
#include "verifier/stats/comparison.h"

namespace fairway::cli {
namespace {

namespace po = boost::program_options;

/// Bytes per token as told, as the records count them, or of the split that was named.
Result<stats::Scale> choose_scale(const po::variables_map& v, const SampleInput& candidate,
                                  const SampleInput& baseline) {
  if (v.count("bytes-per-token") != 0) {
    const double bytes = v["bytes-per-token"].as<double>();
    if (!std::isfinite(bytes) || bytes <= 0.0)
      return Error{Errc::kUsage, "--bytes-per-token", "must be a positive number"};
    if (v.count("split") != 0) return Error{Errc::kUsage, "--bytes-per-token", "cannot be combined with --split"};
    return stats::Scale{bytes, "as given"};
  }
  if (v.count("split") != 0) {
    FAIRWAY_ASSIGN(auto split, stats::find_split(v["split"].as<std::string>()));
    return stats::Scale{split.bytes_per_token, fmt::format("{}: {}", split.name, split.about)};
  }
  if (candidate.scale) return *candidate.scale;
  if (baseline.scale) return *baseline.scale;
  const stats::Split& usual = stats::splits().front();
  return stats::Scale{usual.bytes_per_token,
                      fmt::format("assumed {}: {}; --split names another", usual.name, usual.about)};
}

}  // namespace

ExitCode run_stats(const Arguments& arguments) {
  std::string names;
  for (const stats::Split& s : stats::splits()) names += fmt::format("{}{}", names.empty() ? "" : ", ", s.name);
  Parser parser("fairway stats SCORES... --baseline SCORES... [options]",
                "Tests whether the candidate's bits per byte over seeds are lower than the baseline's by more than "
                "chance: Welch's t-test, one-sided,\n"
                "with no margin and with the challenge's .005 nats per token (or --margin). A baseline of one number "
                "is a constant: one-sample test.\n"
                "SCORES: numbers; or MEAN:SD:COUNT as published; or a record folder (submission.json, logs); or runs "
                "of `fairway train` (replay.json).\n"
                "Exit code 0: significant at alpha with the margin; 1: not.");
  parser.positional_list("SCORES", "the candidate");
  parser.options().add_options()(
      "baseline", po::value<std::vector<std::string>>()->multitoken()->composing()->required(),
      "what it is compared with")("margin", po::value<double>(), "how much lower it must be; needs --unit")(
      "unit", po::value<std::string>(), "of the margin: nats-per-token, nats-per-byte or bpb")(
      "alpha", po::value<double>()->default_value(stats::kRuleAlpha, "0.01"), "level of the test")(
      "split", po::value<std::string>(), ("tokenizer and validation split, for nats per token: " + names).c_str())(
      "bytes-per-token", po::value<double>(), "the same as a number")(
      "format", po::value<std::string>()->default_value("text"), "text or json");
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  const std::string format = v["format"].as<std::string>();
  if (format != "text" && format != "json") return Error{Errc::kUsage, "--format", "must be text or json"};
  const double alpha = v["alpha"].as<double>();
  if (!(alpha > 0.0 && alpha < 1.0)) return Error{Errc::kUsage, "--alpha", "must be above 0 and below 1"};
  stats::Margin margin = stats::kRuleMargin;
  if (v.count("margin") != v.count("unit")) {
    const bool unit_missing = v.count("margin") != 0;
    return Error{Errc::kUsage, unit_missing ? "--margin" : "--unit",
                 fmt::format("needs {} too: .005 nats per token, .005 nats per byte and .005 bpb are three margins",
                             unit_missing ? "--unit" : "--margin")};
  }
  if (v.count("margin") != 0) {
    margin.value = v["margin"].as<double>();
    if (!std::isfinite(margin.value) || margin.value < 0.0)
      return Error{Errc::kUsage, "--margin", "must be a number of at least 0"};
    FAIRWAY_ASSIGN(margin.unit, stats::parse_unit(v["unit"].as<std::string>()));
  }
  FAIRWAY_ASSIGN(auto candidate, read_sample(v["SCORES"].as<std::vector<std::string>>(), "candidate"));
  FAIRWAY_ASSIGN(auto baseline, read_sample(v["baseline"].as<std::vector<std::string>>(), "--baseline"));
  FAIRWAY_ASSIGN(auto scale, choose_scale(v, candidate, baseline));
  FAIRWAY_ASSIGN(auto comparison, stats::compare(candidate.sample, baseline.sample, scale, {margin}, alpha));
  comparison.candidate_name = candidate.name;
  comparison.baseline_name = baseline.name;
  FAIRWAY_TRY(write_stdout(format == "text" ? stats::to_text(comparison) : stats::to_json(comparison)));
  return comparison.tests.back().test.significant ? 0 : 1;
}

}  // namespace fairway::cli

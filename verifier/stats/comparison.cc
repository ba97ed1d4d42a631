#include "verifier/stats/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "engine/replay/version.h"
#include "verifier/report/escape.h"

namespace fairway::stats {
namespace {

using nlohmann::ordered_json;

std::string margin_name(const MarginTest& m) {
  if (m.margin.value == 0.0) return "none";
  std::string name = fmt::format("{} {}", m.margin.value, unit_name(m.margin.unit));
  if (m.margin.unit != Unit::kBpb) name += fmt::format(" = {:.6f} bpb", m.margin_bpb);
  return name;
}

std::string value_name(const Sample& s, size_t index) {
  const std::string value = fmt::format("{}", s.values[index]);
  return index < s.names.size() && !s.names[index].empty()
             ? fmt::format("{} ({})", verifier::visible(s.names[index], 200), value)
             : value;
}

std::string sample_line(const char* role, const Sample& s, const std::string& name) {
  std::string line = fmt::format("{:<10} ", role);
  if (s.count == 1) {
    line += fmt::format("the constant {}", s.mean);
  } else {
    line += fmt::format("{} {}: mean {:.8f}, sd {:.8f}", s.count, s.values.empty() ? "values, as published" : "values",
                        s.mean, s.sd);
    if (!s.values.empty()) {
      const auto [low, high] = std::minmax_element(s.values.begin(), s.values.end());
      line += fmt::format(", from {} to {}", *low, *high);
    }
  }
  return line + (name.empty() ? "" : fmt::format("  ({})", verifier::visible(name, 500))) + "\n";
}

/// The nearest double of a number printed with `digits` significant digits, so that JSON shows no more.
double rounded(double x, int digits) { return std::strtod(fmt::format("{:.{}g}", x, digits).c_str(), nullptr); }

ordered_json sample_json(const Sample& s, const std::string& name) {
  ordered_json j = {{"name", name}, {"count", s.count}, {"mean", rounded(s.mean, 12)}};
  if (s.count > 1) j["sd"] = rounded(s.sd, 8);
  if (!s.values.empty()) j["values"] = s.values;
  return j;
}

ordered_json test_json(const Test& t) {
  return {{"t", rounded(t.t, 8)},
          {"df", rounded(t.df, 8)},
          {"critical", rounded(t.critical, 8)},
          {"p", rounded(t.p, 4)},
          {"significant", t.significant}};
}

}  // namespace

Result<Comparison> compare(const Sample& candidate, const Sample& baseline, const Scale& scale,
                           const std::vector<Margin>& margins, double alpha) {
  Comparison c{candidate, baseline, "", "", scale, alpha, {}};
  std::vector<Margin> all = {{0.0, Unit::kBpb}};
  for (const Margin& m : margins) {
    if (m.value != 0.0) all.push_back(m);
  }
  for (const Margin& m : all) {
    MarginTest one;
    one.margin = m;
    one.margin_bpb = to_bpb(m.value, m.unit, scale.bytes_per_token);
    FAIRWAY_ASSIGN(one.test, test(candidate, baseline, one.margin_bpb, alpha));
    one.rounding = rounding_range(candidate, baseline, one.margin_bpb);
    one.left_out = leave_one_out(candidate, baseline, one.margin_bpb, alpha);
    c.tests.push_back(std::move(one));
  }
  return c;
}

std::string print_p(double p) { return fmt::format("{:#.4g}", p); }

std::string to_text(const Comparison& c) {
  const Test& plain = c.tests.front().test;
  const double d = plain.difference, bytes = c.scale.bytes_per_token;
  std::string out =
      sample_line("candidate", c.candidate, c.candidate_name) + sample_line("baseline", c.baseline, c.baseline_name);
  out += fmt::format("{:<10} {:.8f} bpb {} = {:.8f} nats/token = {:.8f} nats/byte\n\n", "difference", std::abs(d),
                     d >= 0 ? "lower" : "HIGHER", from_bpb(std::abs(d), Unit::kNatsPerToken, bytes),
                     from_bpb(std::abs(d), Unit::kNatsPerByte, bytes));
  out +=
      fmt::format("{} t-test, one-sided: is the candidate lower than the baseline by more than the margin? alpha {}\n",
                  plain.welch ? "Welch's" : "one-sample", c.alpha);
  out += fmt::format("  {:<34} {:>10} {:>8} {:>10} {:>11}\n", "margin", "t", "df", "critical", "p");
  for (const MarginTest& m : c.tests) {
    out += fmt::format("  {:<34} {:>10.4f} {:>8.3f} {:>10.4f} {:>11}  {}\n", margin_name(m), m.test.t, m.test.df,
                       m.test.critical, print_p(m.test.p), m.test.significant ? "significant" : "not significant");
  }
  for (const MarginTest& m : c.tests) {
    if (!m.rounding) continue;
    const std::string low = fmt::format("{:.4g}", m.rounding->low), high = fmt::format("{:.4g}", m.rounding->high);
    if (low != high)
      out += fmt::format("  rounding of the inputs leaves t from about {} to {} with margin {}\n", low, high,
                         margin_name(m));
  }
  for (const MarginTest& m : c.tests) {
    if (m.left_out.empty()) continue;
    out += fmt::format("\nWithout one value, margin {}:\n", margin_name(m));
    for (const LeftOut& l : m.left_out) {
      out += fmt::format("  without {} {:<24} ", l.from_baseline ? "baseline " : "candidate",
                         value_name(l.from_baseline ? c.baseline : c.candidate, l.index));
      out += l.test ? fmt::format("t {:>10.4f}  df {:>7.3f}  p {:>10}  {}\n", l.test->t, l.test->df, print_p(l.test->p),
                                  l.test->significant ? "significant" : "not significant")
                    : "no variance is left\n";
    }
  }
  out += fmt::format(
      "\nConventions: sample sd (n - 1); one-sided p; {}; {:.6f} bytes per token ({}), so 1 bpb is {:.6f} "
      "nats/token.\n",
      plain.welch ? "both samples vary" : "the baseline is a constant whose own variance is ignored", bytes,
      verifier::visible(c.scale.source, 200), from_bpb(1.0, Unit::kNatsPerToken, bytes));
  return out;
}

std::string to_json(const Comparison& c) {
  ordered_json tests = ordered_json::array();
  for (const MarginTest& m : c.tests) {
    ordered_json j = {
        {"margin", {{"value", m.margin.value}, {"unit", unit_name(m.margin.unit)}, {"bpb", rounded(m.margin_bpb, 8)}}}};
    j.update(test_json(m.test));
    if (m.rounding) j["rounding"] = {{"t_low", rounded(m.rounding->low, 8)}, {"t_high", rounded(m.rounding->high, 8)}};
    j["leave_one_out"] = ordered_json::array();
    for (const LeftOut& l : m.left_out) {
      ordered_json left = {{"from", l.from_baseline ? "baseline" : "candidate"},
                           {"value", (l.from_baseline ? c.baseline : c.candidate).values[l.index]}};
      if (l.test) left.update(test_json(*l.test));
      j["leave_one_out"].push_back(left);
    }
    tests.push_back(j);
  }
  const Test& plain = c.tests.front().test;
  const ordered_json out = {
      {"tool", {{"name", "fairway"}, {"version", replay::version()}}},
      {"candidate", sample_json(c.candidate, c.candidate_name)},
      {"baseline", sample_json(c.baseline, c.baseline_name)},
      {"method", plain.welch ? "welch" : "one-sample"},
      {"alternative", "candidate lower than baseline by more than the margin"},
      {"alpha", c.alpha},
      {"difference_bpb", rounded(plain.difference, 8)},
      {"bytes_per_token", {{"value", rounded(c.scale.bytes_per_token, 12)}, {"source", c.scale.source}}},
      {"tests", tests}};
  return out.dump(-1, ' ', true, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace fairway::stats

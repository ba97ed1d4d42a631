#include "verifier/cli/ablation.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "verifier/stats/comparison.h"

namespace fairway::cli {
namespace {

double mean_bytes(const std::vector<AblationRun>& runs) {
  double sum = 0.0;
  for (const AblationRun& r : runs) sum += static_cast<double>(r.total_bytes);
  return sum / static_cast<double>(runs.size());
}

/// Welch's test that the variant scores lower than the base; empty with fewer than two seeds on a side, or without any
/// variance.
std::optional<stats::Test> test_against(const AblationVariant& base, const AblationVariant& variant) {
  if (&base == &variant || base.runs.size() < 2 || variant.runs.size() < 2) return {};
  auto sample = [](const AblationVariant& v) {
    std::vector<double> values;
    for (const AblationRun& r : v.runs) values.push_back(r.val_bpb);
    return stats::sample_of(std::move(values), v.name);
  };
  auto candidate = sample(variant), baseline = sample(base);
  if (!candidate || !baseline) return {};
  auto test = stats::test(*candidate, *baseline, 0.0, stats::kRuleAlpha);
  if (!test) return {};
  return *test;
}

}  // namespace

double required_bpb(const Throughput& t, double base_step_ms, double variant_step_ms) {
  const double budget_ms = t.budget_seconds * 1000.0;
  return (budget_ms / base_step_ms - budget_ms / variant_step_ms) * t.bpb_per_step;
}

double mean_of(const std::vector<AblationRun>& runs, double AblationRun::*field) {
  double sum = 0.0;
  for (const AblationRun& r : runs) sum += r.*field;
  return sum / static_cast<double>(runs.size());
}

std::string ablation_table(const std::vector<AblationVariant>& variants, const Throughput& throughput) {
  size_t width = 7;
  for (const AblationVariant& v : variants) width = std::max(width, v.name.size());
  const bool account = throughput.bpb_per_step > 0.0;
  std::string out = fmt::format(
      "{:<{}}  seeds  train_loss  val_loss    val_bpb     gain_bpb   bytes       ms/step     t        df      p{}\n",
      "variant", width, account ? "          required_bpb" : "");
  const AblationVariant& base = variants.front();
  for (const AblationVariant& v : variants) {
    const double bpb = mean_of(v.runs, &AblationRun::val_bpb), step_ms = mean_of(v.runs, &AblationRun::step_ms);
    out +=
        fmt::format("{:<{}}  {:<5}  {:<10.4f}  {:<10.6f}  {:<10.6f}  {:<+9.6f}  {:<10.0f}  {:<10.2f}", v.name, width,
                    v.runs.size(), mean_of(v.runs, &AblationRun::train_loss), mean_of(v.runs, &AblationRun::val_loss),
                    bpb, mean_of(base.runs, &AblationRun::val_bpb) - bpb, mean_bytes(v.runs), step_ms);
    const auto test = test_against(base, v);
    out += test ? fmt::format("  {:<7.3f}  {:<6.2f}  {:<9}", test->t, test->df, stats::print_p(test->p))
                : fmt::format("  {:<7}  {:<6}  {:<9}", "-", "-", "-");
    if (account)
      out += fmt::format("  {:+.6f}", required_bpb(throughput, mean_of(base.runs, &AblationRun::step_ms), step_ms));
    out.erase(out.find_last_not_of(' ') + 1);
    out += "\n";
  }
  return out;
}

std::string ablation_json(const std::vector<AblationVariant>& variants, const Throughput& throughput) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  const double base_ms = mean_of(variants.front().runs, &AblationRun::step_ms);
  for (const AblationVariant& v : variants) {
    nlohmann::ordered_json runs = nlohmann::ordered_json::array();
    for (const AblationRun& r : v.runs) {
      runs.push_back({{"seed", std::to_string(r.seed)},
                      {"train_loss", r.train_loss},
                      {"val_loss", r.val_loss},
                      {"val_bpb", r.val_bpb},
                      {"total_bytes", r.total_bytes},
                      {"step_ms", r.step_ms}});
    }
    nlohmann::ordered_json entry = {{"variant", v.name}, {"runs", std::move(runs)}};
    if (const auto test = test_against(variants.front(), v)) {
      entry["welch"] = {{"t", test->t}, {"df", test->df}, {"p", stats::print_p(test->p)}};
    }
    if (throughput.bpb_per_step > 0.0) {
      entry["required_bpb"] = required_bpb(throughput, base_ms, mean_of(v.runs, &AblationRun::step_ms));
    }
    list.push_back(std::move(entry));
  }
  return nlohmann::ordered_json{{"variants", std::move(list)}}.dump() + "\n";
}

}  // namespace fairway::cli

#include "verifier/report/report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/replay/version.h"

namespace fairway::verifier {

void Report::add(std::string id, Verdict status, std::string message, std::string claimed, std::string measured) {
  checks.push_back({std::move(id), status, std::move(message), std::move(claimed), std::move(measured), {}});
}

Verdict Report::verdict() const {
  bool passed = false, review = false;
  for (const Check& c : checks) {
    if (c.status == Verdict::kFail) return Verdict::kFail;
    review = review || c.status == Verdict::kReview;
    passed = passed || c.status == Verdict::kPass;
  }
  return review || !passed ? Verdict::kReview : Verdict::kPass;
}

int Report::exit_code() const {
  const Verdict v = verdict();
  return v == Verdict::kPass ? 0 : v == Verdict::kFail ? 1 : 2;
}

const char* verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPass: return "pass";
    case Verdict::kFail: return "fail";
    case Verdict::kReview: return "review";
    case Verdict::kSkip: return "skip";
  }
  return "";
}

std::string to_text(const Report& report, bool colour) {
  auto paint = [&](Verdict s) -> std::string {
    if (!colour) return verdict_name(s);
    const char* code = s == Verdict::kPass ? "32" : s == Verdict::kFail ? "31" : s == Verdict::kReview ? "33" : "2";
    return fmt::format("\x1b[{}m{}\x1b[0m", code, verdict_name(s));
  };
  std::string out;
  for (const Check& c : report.checks) {
    out += fmt::format("  {:<{}} {:<18} {}\n", paint(c.status), colour ? 15 : 6, c.id, c.message);
    if (!c.claimed.empty() || !c.measured.empty()) {
      out += fmt::format("         {:<18} claimed {}, measured {}\n", "", c.claimed.empty() ? "-" : c.claimed, c.measured.empty() ? "-" : c.measured);
    }
    for (const Evidence& e : c.evidence) out += fmt::format("         {:<18} {}{}\n", "", e.file, e.line > 0 ? fmt::format(":{}", e.line) : "");
  }
  out += fmt::format("verdict: {}\n", paint(report.verdict()));
  return out;
}

std::string to_json(const Report& report) {
  using nlohmann::ordered_json;
  ordered_json checks = ordered_json::array();
  for (const Check& c : report.checks) {
    ordered_json j = {{"id", c.id}, {"status", verdict_name(c.status)}, {"message", c.message}};
    if (!c.claimed.empty()) j["claimed"] = c.claimed;
    if (!c.measured.empty()) j["measured"] = c.measured;
    j["evidence"] = ordered_json::array();
    for (const Evidence& e : c.evidence) {
      ordered_json place = {{"file", e.file}};
      if (e.line > 0) place["line"] = e.line;
      if (e.end_line > 0) place["end_line"] = e.end_line;
      j["evidence"].push_back(place);
    }
    checks.push_back(j);
  }
  ordered_json subject = {{"path", report.subject_path}, {"sha256", report.subject_sha256}};
  if (!report.subject_ref.empty()) subject["ref"] = report.subject_ref;
  const ordered_json out = {{"tool", {{"name", "fairway"}, {"version", replay::version()}}},
                            {"subject", subject},
                            {"verdict", verdict_name(report.verdict())},
                            {"checks", checks}};
  // Text from files may hold invalid UTF-8; a report must come out all the same.
  return out.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace fairway::verifier

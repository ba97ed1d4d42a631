#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "engine/replay/version.h"
#include "verifier/report/report.h"

namespace fairway::verifier {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// "15863489" and "1.1630" are numbers for a program; a digest that happens to be digits, "1e5" or "007" is text.
bool is_plain_number(std::string_view text) {
  if (!text.empty() && text.front() == '-') text.remove_prefix(1);
  const size_t whole = std::min(text.find('.'), text.size());
  const std::string_view fraction = whole < text.size() ? text.substr(whole + 1) : "0";
  return whole > 0 && !fraction.empty() && text.size() <= 16 && (whole == 1 || text.front() != '0') &&
         std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(whole), is_digit) &&
         std::all_of(fraction.begin(), fraction.end(), is_digit);
}

ordered_json value_of(const std::string& text) {
  return is_plain_number(text) ? ordered_json::parse(text) : ordered_json(text);
}

/// Reads members of one object, remembering the first that is wrong.
class Reader {
 public:
  Reader(const json& object, std::string pointer, std::string& problem)
      : object_(object), pointer_(std::move(pointer)), problem_(problem) {
    if (!object.is_object()) wrong("", "must be an object");
  }

  /// The member if it is there and `is` holds; a missing one is a problem only if `required`.
  template <class Is>
  const json* get(const char* key, bool required, const char* type, Is is) {
    const auto at = object_.is_object() ? object_.find(key) : object_.end();
    if (!object_.is_object() || at == object_.end()) {
      if (required) wrong(key, "is missing");
      return nullptr;
    }
    if (is(*at)) return &*at;
    wrong(key, fmt::format("must be {}", type).c_str());
    return nullptr;
  }
  std::string text(const char* key, bool required) {
    const json* j = get(key, required, "a string", [](const json& v) { return v.is_string(); });
    return j != nullptr ? j->get<std::string>() : "";
  }
  std::string text_or_number(const char* key) {
    const json* j =
        get(key, false, "a string or a number", [](const json& v) { return v.is_string() || v.is_number(); });
    return j == nullptr ? "" : j->is_string() ? j->get<std::string>() : j->dump();
  }
  int64_t line(const char* key) {
    const json* j = get(key, false, "a line number",
                        [](const json& v) { return v.is_number_unsigned() && v.get<uint64_t>() <= INT64_MAX; });
    return j != nullptr ? j->get<int64_t>() : 0;
  }
  const json& list(const char* key) {
    static const json kNone = json::array();
    const json* j = get(key, true, "an array", [](const json& v) { return v.is_array(); });
    return j != nullptr ? *j : kNone;
  }

 private:
  void wrong(const char* key, const char* what) {
    if (problem_.empty())
      problem_ = fmt::format("{}{}{} {}", pointer_.empty() && *key == '\0' ? "the report" : pointer_,
                             *key == '\0' ? "" : "/", key, what);
  }
  const json& object_;
  std::string pointer_;
  std::string& problem_;
};

Result<Verdict> parse_status(const std::string& name) {
  for (Verdict v : {Verdict::kPass, Verdict::kFail, Verdict::kReview, Verdict::kSkip}) {
    if (name == verdict_name(v)) return v;
  }
  return Error{Errc::kData, "", "must be pass, fail, review or skip"};
}

}  // namespace

std::string to_json(const Report& report) {
  ordered_json checks = ordered_json::array();
  for (const Check& c : report.checks) {
    ordered_json j = {{"id", c.id}, {"status", verdict_name(c.status)}, {"message", c.message}};
    if (!c.claimed.empty()) j["claimed"] = value_of(c.claimed);
    if (!c.measured.empty()) j["measured"] = value_of(c.measured);
    j["evidence"] = ordered_json::array();
    for (const Evidence& e : c.evidence) {
      ordered_json at = {{"file", e.file}};
      if (e.line > 0) at["line"] = e.line;
      if (e.line > 0 && e.end_line > 0) at["end_line"] = e.end_line;
      if (!e.note.empty()) at["note"] = e.note;
      j["evidence"].push_back(at);
    }
    checks.push_back(j);
  }
  ordered_json subject = {{"path", report.subject_path}};
  if (!report.subject_ref.empty()) subject["ref"] = report.subject_ref;
  subject["sha256"] = report.subject_sha256;
  const ordered_json out = {{"tool", {{"name", "fairway"}, {"version", replay::version()}}},
                            {"subject", subject},
                            {"verdict", verdict_name(report.verdict())},
                            {"checks", checks}};
  return out.dump(-1, ' ', true, ordered_json::error_handler_t::replace) + "\n";
}

Result<Report> from_json(std::string_view text, const std::string& where) {
  const json root = json::parse(text, nullptr, false);
  if (root.is_discarded())
    return Error{Errc::kData, where, "is not JSON; a report is made with --format json or jsonl"};
  std::string problem;
  Report report;
  Reader top(root, "", problem);
  static const json kEmpty = json::object();
  const json* subject = top.get("subject", true, "an object", [](const json& v) { return v.is_object(); });
  Reader about(subject != nullptr ? *subject : kEmpty, "/subject", problem);
  report.subject_path = about.text("path", true);
  report.subject_ref = about.text("ref", false);
  report.subject_sha256 = about.text("sha256", false);
  const std::string verdict = top.text("verdict", true);
  const json& checks = top.list("checks");
  for (size_t i = 0; i < checks.size() && problem.empty(); ++i) {
    const std::string at = fmt::format("/checks/{}", i);
    Reader reader(checks[i], at, problem);
    Check c;
    c.id = reader.text("id", true);
    const std::string status = reader.text("status", true);
    c.message = reader.text("message", true);
    c.claimed = reader.text_or_number("claimed");
    c.measured = reader.text_or_number("measured");
    const json& evidence = reader.list("evidence");
    for (size_t k = 0; k < evidence.size() && problem.empty(); ++k) {
      Reader place(evidence[k], fmt::format("{}/evidence/{}", at, k), problem);
      const std::string file = place.text("file", true);
      const int64_t line = place.line("line"), end_line = place.line("end_line");
      c.evidence.push_back({file, line, end_line, place.text("note", false)});
    }
    if (!problem.empty()) break;
    auto parsed = parse_status(status);
    if (!parsed) return Error{Errc::kData, where, fmt::format("{}/status {}", at, parsed.error().what)};
    c.status = *parsed;
    report.checks.push_back(std::move(c));
  }
  if (problem.empty() && verdict != verdict_name(report.verdict())) {
    problem = fmt::format("/verdict is not what the checks amount to, {}; the report was edited",
                          verdict_name(report.verdict()));
  }
  if (!problem.empty()) return Error{Errc::kData, where, problem};
  return report;
}

}  // namespace fairway::verifier

#include "verifier/report/report.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/check.h"
#include "verifier/rules/rules.h"

namespace fairway::verifier {

void Report::add(Check check) {
  FAIRWAY_CHECK(find_rule(check.id) != nullptr);
  checks.push_back(std::move(check));
}

void Report::add(std::string id, Verdict status, std::string message, std::string claimed, std::string measured) {
  add(Check{std::move(id), status, std::move(message), std::move(claimed), std::move(measured), {}});
}

int64_t Report::count(Verdict status) const {
  return std::count_if(checks.begin(), checks.end(), [&](const Check& c) { return c.status == status; });
}

Verdict Report::verdict() const {
  if (count(Verdict::kFail) > 0) return Verdict::kFail;
  return count(Verdict::kReview) > 0 || count(Verdict::kPass) == 0 ? Verdict::kReview : Verdict::kPass;
}

int Report::exit_code() const { return verifier::exit_code({this, 1}); }

int exit_code(std::span<const Report> reports) {
  bool undecided = reports.empty();
  for (const Report& r : reports) {
    const Verdict v = r.verdict();
    if (v == Verdict::kFail) return 1;
    undecided = undecided || v == Verdict::kReview;
  }
  return undecided ? 2 : 0;
}

const char* verdict_name(Verdict verdict) {
  switch (verdict) {
    case Verdict::kPass:
      return "pass";
    case Verdict::kFail:
      return "fail";
    case Verdict::kReview:
      return "review";
    case Verdict::kSkip:
      return "skip";
  }
  return "";
}

std::string place(const Evidence& e) {
  if (e.line <= 0) return e.file;
  return e.end_line > e.line ? fmt::format("{}:{}-{}", e.file, e.line, e.end_line)
                             : fmt::format("{}:{}", e.file, e.line);
}

Result<Format> parse_format(const std::string& name) {
  static constexpr std::pair<const char*, Format> kNames[] = {
      {"text", Format::kText},   {"json", Format::kJson},   {"jsonl", Format::kJsonl},
      {"sarif", Format::kSarif}, {"junit", Format::kJunit}, {"markdown", Format::kMarkdown}};
  for (const auto& [known, format] : kNames) {
    if (name == known) return format;
  }
  return Error{Errc::kUsage, "--format", fmt::format("must be {}", kFormatNames)};
}

bool is_streamable(Format format) { return format == Format::kText || format == Format::kJsonl; }

Result<std::string> render(Format format, std::span<const Report> reports, const RenderOptions& options) {
  std::string out;
  switch (format) {
    case Format::kText:
      for (const Report& r : reports) out += to_text(r, options.colour, options.width_columns);
      return out;
    case Format::kJson:
      if (reports.size() != 1)
        return Error{Errc::kUsage, "--format", "json holds one report; use jsonl, which has one a line"};
      return to_json(reports[0]);
    case Format::kJsonl:
      for (const Report& r : reports) out += to_json(r);
      return out;
    case Format::kSarif:
      return to_sarif(reports);
    case Format::kJunit:
      return to_junit(reports);
    case Format::kMarkdown:
      return to_markdown(reports);
  }
  FAIRWAY_CHECK(false);
}

}  // namespace fairway::verifier

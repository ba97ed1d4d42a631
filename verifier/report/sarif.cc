#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "engine/base/sha256.h"
#include "engine/replay/version.h"
#include "verifier/report/escape.h"
#include "verifier/report/parts.h"
#include "verifier/report/report.h"
#include "verifier/rules/rules.h"

namespace fairway::verifier {
namespace {

using nlohmann::ordered_json;

/// "legality.score_first" as the identifier SARIF wants beside an opaque id: "LegalityScoreFirst".
std::string pascal_case(std::string_view id) {
  std::string out;
  bool upper = true;
  for (char c : id) {
    if (c == '.' || c == '_') {
      upper = true;
    } else {
      out += upper && c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
      upper = false;
    }
  }
  return out;
}

ordered_json rule_json(const Rule& r) {
  std::string text = fmt::format("{}\n\nWhy: {}", r.rule, r.why),
              markdown = fmt::format("{}\n\n**Why.** {}", r.rule, r.why);
  if (*r.legal != '\0') {
    text += fmt::format("\n\nWhat is legal: {}", r.legal);
    markdown += fmt::format("\n\n**What is legal.** {}", r.legal);
  }
  text += fmt::format("\n\nSettled by: {}", r.source);
  markdown += fmt::format("\n\nSettled by: {}", r.source);
  const std::string_view id = r.id;
  ordered_json j = {{"id", r.id},
                    {"name", pascal_case(id)},
                    {"shortDescription", {{"text", r.title}}},
                    {"fullDescription", {{"text", r.rule}}},
                    {"help", {{"text", text}, {"markdown", markdown}}}};
  if (*r.url != '\0') j["helpUri"] = r.url;
  j["defaultConfiguration"] = {{"level", level_name(r.level)}};
  j["properties"] = {{"tags", ordered_json::array({id.substr(0, id.find('.'))})}};
  return j;
}

/// Where a file of a subject lies in the repository; a folder given by an absolute or outer path is left out of it.
std::string repository_path(const Report& report, std::string_view file) {
  std::string folder = report.subject_path;
  while (folder.starts_with("./")) folder.erase(0, 2);
  while (!folder.empty() && folder.back() == '/') folder.pop_back();
  if (folder == "." || folder.starts_with('/') || ("/" + folder + "/").find("/../") != std::string::npos)
    folder.clear();
  if (folder.empty() && file.empty()) return ".";
  if (folder.empty() || file.empty()) return folder + std::string(file);
  return fmt::format("{}/{}", folder, file);
}

ordered_json location(const Report& report, const Evidence& e) {
  // Lines of unpacked text are no lines of the shipped file, which is all a viewer can open.
  const size_t unpacked = e.file.find('!');
  const bool exact = unpacked == std::string::npos && e.line > 0;
  ordered_json region = {{"startLine", exact ? e.line : 1}};  // code scanning shows nothing that has no line
  if (exact && e.end_line > e.line) region["endLine"] = e.end_line;
  ordered_json j = {{"physicalLocation",
                     {{"artifactLocation", {{"uri", uri_path(repository_path(report, e.file.substr(0, unpacked)))}}},
                      {"region", region}}}};
  std::string message = unpacked == std::string::npos ? "" : visible(place(e));
  if (!e.note.empty()) message += (message.empty() ? "" : ": ") + visible(e.note);
  if (!message.empty()) j["message"] = {{"text", message}};
  return j;
}

ordered_json result_json(const Report& report, const Check& c, std::map<std::string, int>& seen) {
  const Rule* rule = find_rule(c.id);
  std::string text = visible(c.message.empty() ? c.id : c.message);
  if (c.status == Verdict::kReview) text = "A person must look: " + text;
  const std::string compared = claimed_and_measured(c, [](const std::string& t) { return visible(t); });
  if (!compared.empty()) text += fmt::format(" ({})", compared);
  ordered_json j = {{"ruleId", visible(c.id)}};
  if (rule != nullptr) j["ruleIndex"] = rule - rules().data();
  j["kind"] = "fail";
  j["level"] = c.status == Verdict::kFail && rule != nullptr ? level_name(rule->level) : "warning";
  j["message"] = {{"text", text}};
  // A finding without a place is about the record as a whole.
  const Evidence whole{};
  const std::span<const Evidence> evidence = c.evidence.empty() ? std::span(&whole, 1) : std::span(c.evidence);
  j["locations"] = ordered_json::array({location(report, evidence[0])});
  if (evidence.size() > 1) {
    ordered_json related = ordered_json::array();
    for (size_t i = 1; i < evidence.size(); ++i) {
      related.push_back(location(report, evidence[i]));
      related.back()["id"] = i;
    }
    j["relatedLocations"] = related;
  }
  // The same finding keeps its name when lines move: check, file, and which of that file's findings it is.
  const std::string key = fmt::format("{}\n{}\n{}", c.id, report.subject_path, evidence[0].file);
  j["partialFingerprints"] = {{"fairwayFinding/v1", hex(sha256(fmt::format("{}\n{}", key, seen[key]++)))}};
  j["properties"] = {{"status", verdict_name(c.status)}, {"subject", visible(report.subject_path)}};
  if (!report.subject_ref.empty()) j["properties"]["ref"] = visible(report.subject_ref);
  return j;
}

}  // namespace

std::string to_sarif(std::span<const Report> reports) {
  ordered_json rule_list = ordered_json::array(), results = ordered_json::array(), subjects = ordered_json::array();
  for (const Rule& r : rules()) rule_list.push_back(rule_json(r));
  std::map<std::string, int> seen;
  for (const Report& report : reports) {
    ordered_json passed = ordered_json::array(), skipped = ordered_json::array();
    for (const Check& c : report.checks) {
      if (c.status == Verdict::kFail || c.status == Verdict::kReview) results.push_back(result_json(report, c, seen));
      if (c.status == Verdict::kPass) passed.push_back(visible(c.id));
      if (c.status == Verdict::kSkip) skipped.push_back(visible(c.id));
    }
    subjects.push_back({{"path", visible(report.subject_path)},
                        {"verdict", verdict_name(report.verdict())},
                        {"passed", passed},
                        {"skipped", skipped}});
  }
  const ordered_json driver = {{"name", "Fairway"},
                               {"version", replay::version()},
                               {"semanticVersion", replay::version()},
                               {"rules", rule_list}};
  const ordered_json run = {{"tool", {{"driver", driver}}},
                            {"automationDetails", {{"id", "fairway/"}}},
                            {"invocations", ordered_json::array({ordered_json{{"executionSuccessful", true}}})},
                            {"columnKind", "utf16CodeUnits"},
                            {"results", results},
                            {"properties", {{"subjects", subjects}}}};
  const ordered_json log = {
      {"$schema", "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"},
      {"version", "2.1.0"},
      {"runs", ordered_json::array({run})}};
  return log.dump(-1, ' ', true) + "\n";
}

}  // namespace fairway::verifier

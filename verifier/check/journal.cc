#include "verifier/check/journal.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/base/file.h"

namespace fairway::verifier {
namespace {

using nlohmann::json;

constexpr const char* kFormat = "fairway-verification-1";
constexpr uint64_t kMaxJournalBytes = 64 << 20;
constexpr Verdict kVerdicts[] = {Verdict::kPass, Verdict::kFail, Verdict::kReview, Verdict::kSkip};

/// Every field as it is; the JSON of a report turns some texts into numbers.
json to_json(const Check& c) {
  json evidence = json::array();
  for (const Evidence& e : c.evidence)
    evidence.push_back({{"file", e.file}, {"line", e.line}, {"end_line", e.end_line}, {"note", e.note}});
  return {{"id", c.id},           {"status", verdict_name(c.status)}, {"message", c.message},
          {"claimed", c.claimed}, {"measured", c.measured},           {"evidence", evidence}};
}

/// Throws json::exception for a wrong shape.
Check from_json(const json& j) {
  Check c{j.at("id"), Verdict::kReview, j.at("message"), j.at("claimed"), j.at("measured"), {}};
  for (const Verdict verdict : kVerdicts) {
    if (j.at("status") == verdict_name(verdict)) c.status = verdict;
  }
  for (const json& e : j.at("evidence"))
    c.evidence.push_back({e.at("file"), e.at("line"), e.at("end_line"), e.at("note")});
  return c;
}

}  // namespace

Result<Journal> Journal::start(std::string path, Question question, Question notes) {
  Journal journal(std::move(path));
  journal.question_ = std::move(question);
  journal.notes_ = std::move(notes);
  FAIRWAY_TRY(make_directories(parent_directory(journal.path_)));
  FAIRWAY_TRY(journal.write());
  return journal;
}

Result<Journal> Journal::resume(std::string path, const Question& question) {
  FAIRWAY_ASSIGN(const auto bytes, read_file(path, kMaxJournalBytes));
  Journal journal(std::move(path));
  FAIRWAY_TRY(journal.read(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())));
  for (const auto& [name, value] : question) {
    const auto at = journal.question_.find(name);
    if (at != journal.question_.end() && at->second == value) continue;
    return Error{
        Errc::kUsage, journal.path_,
        fmt::format("--resume: the verification begun here had {} \"{}\", now it is \"{}\"; give the same command, "
                    "or leave --resume away to begin again",
                    name, at == journal.question_.end() ? "" : at->second, value)};
  }
  return journal;
}

const std::vector<Check>* Journal::find(const std::string& part, const std::string& record_sha256) const {
  const auto at = parts_.find(part);
  return at == parts_.end() || at->second.record_sha256 != record_sha256 ? nullptr : &at->second.checks;
}

Status Journal::keep(const std::string& part, const std::string& record_sha256, std::vector<Check> checks) {
  parts_[part] = {record_sha256, std::move(checks)};
  return write();
}

Status Journal::read(const std::string& text) {
  try {
    const json j = json::parse(text);
    if (j.at("format") != kFormat)
      return Error{Errc::kData, path_, "of another version; leave --resume away to begin again"};
    question_ = j.at("question").get<Question>();
    notes_ = j.at("notes").get<Question>();
    for (const auto& [name, part] : j.at("parts").items()) {
      Part& kept = parts_[name];
      kept.record_sha256 = part.at("record_sha256");
      for (const json& check : part.at("checks")) kept.checks.push_back(from_json(check));
    }
  } catch (const json::exception& e) {
    return Error{Errc::kData, path_, fmt::format("damaged ({}); leave --resume away to begin again", e.what())};
  }
  return {};
}

Status Journal::write() const {
  json parts = json::object();
  for (const auto& [name, part] : parts_) {
    json checks = json::array();
    for (const Check& check : part.checks) checks.push_back(to_json(check));
    parts[name] = {{"record_sha256", part.record_sha256}, {"checks", checks}};
  }
  const json j = {{"format", kFormat}, {"question", question_}, {"notes", notes_}, {"parts", parts}};
  // A name of a file need not be UTF-8; the report shows U+FFFD for such bytes too.
  return write_file_atomic(path_, j.dump(1, ' ', false, json::error_handler_t::replace) + "\n");
}

}  // namespace fairway::verifier

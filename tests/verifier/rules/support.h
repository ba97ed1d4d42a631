/// Facts for the source rules, made from fixtures of this folder.
#pragma once

#include <fstream>
#include <sstream>
#include <string>

#include "verifier/audit/facts.h"
#include "verifier/audit/source_audit.h"

namespace fairway::audit::testing {

inline std::string read_fixture(const std::string& name) {
  std::ifstream in(std::string(FAIRWAY_SOURCE_DIR) + "/tests/verifier/rules/" + name);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

/// A record whose script is that text, with one logged run; `settings` as a log prints them.
inline Facts record(const std::string& script, const std::map<std::string, std::string>& settings = {},
                    const std::string& tag = "") {
  Facts facts;
  facts.sources.push_back({"train_gpt.py", "train_gpt.py", Language::kPython, false, script});
  LoggedRun run;
  run.file = "train.log";
  ScoreLine score;
  score.tag = tag.empty() ? "step:10/20" : tag;
  score.diagnostic = tag.empty();
  score.val_bpb = 1.2;
  run.scores.push_back(score);
  for (const auto& [key, value] : settings) run.hyperparameters[key] = {value, {"train.log", 1}};
  facts.runs.push_back(run);
  facts.reported_tag = tag;
  return facts;
}

inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

inline verifier::Check check_of(const Facts& facts, const std::string& id) {
  for (verifier::Check& check : audit_source(facts)) {
    if (check.id == id) return check;
  }
  return {id, verifier::Verdict::kSkip, "no such check", "", "", {}};
}

inline bool names_line(const verifier::Check& check, const std::string& file, int64_t line) {
  for (const verifier::Evidence& e : check.evidence) {
    if (e.file == file && e.line == line) return true;
  }
  return false;
}

/// The line of the first occurrence of `words` in the fixture.
inline int64_t line_of(const std::string& text, const std::string& words) {
  const size_t at = text.find(words);
  if (at == std::string::npos) return -1;
  return 1 + std::count(text.begin(), text.begin() + static_cast<long>(at), '\n');
}

}  // namespace fairway::audit::testing

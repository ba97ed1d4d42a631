#include <fmt/format.h>

#include <algorithm>

#include "verifier/audit/check/checks.h"
#include "verifier/audit/read/log.h"
#include "verifier/audit/read/text.h"

namespace fairway::audit {

using verifier::Check;
using verifier::Verdict;

namespace {

/// README.md, submission.json, a train log and a script that runs: what the challenge asks every record for.
void check_files(const Facts& facts, verifier::Report& report) {
  Check check{"structure.files", Verdict::kPass, "", "", "", {}};
  std::vector<std::string> missing;
  if (facts.readme_file.empty()) missing.push_back("README.md");
  if (!facts.claims.present) missing.push_back("submission.json");
  if (std::none_of(facts.files.begin(), facts.files.end(), [](const FileEntry& f) { return is_log_name(f.path); }))
    missing.push_back("a train log");
  if (std::none_of(facts.sources.begin(), facts.sources.end(),
                   [](const SourceFile& s) { return s.language == Language::kPython; })) {
    missing.push_back("a train script");
  }
  std::vector<std::string> unread;
  for (const FileEntry& f : facts.files) {
    if (f.state == FileState::kLink) {
      unread.push_back(f.path + " is a link");
      check.evidence.push_back({f.path, 0, 0});
    } else if (f.state == FileState::kTooLarge) {
      unread.push_back(fmt::format("{} is too large to read", f.path));
    }
  }
  const size_t absent = static_cast<size_t>(std::count_if(
      facts.files.begin(), facts.files.end(), [](const FileEntry& f) { return f.state == FileState::kAbsent; }));
  if (!missing.empty()) {
    check.status = Verdict::kReview;
    check.message = fmt::format("missing: {}; is it elsewhere in the pull request?", fmt::join(missing, ", "));
  } else if (!facts.problems.empty()) {
    check.status = Verdict::kReview;
    check.message = fmt::format("not everything could be read: {}", facts.problems.front());
    if (facts.problems.size() > 1) check.message += fmt::format(" (and {} more)", facts.problems.size() - 1);
  } else {
    check.message = fmt::format("{} files, README, submission.json, logs and script are there", facts.files.size());
  }
  if (absent > 0) check.message += fmt::format("; {} files are listed without content", absent);
  if (!unread.empty()) check.message += fmt::format("; not followed: {}", fmt::join(unread, ", "));
  report.add(std::move(check));
}

void check_json(const Facts& facts, verifier::Report& report) {
  const Claims& c = facts.claims;
  Check check{"structure.json", Verdict::kPass, "", "", "", {}};
  if (!c.present) {
    check.status = Verdict::kSkip;
    check.message = "no submission.json";
  } else if (!c.parsed) {
    // What is not JSON is shown by the file itself, unless its content is not here.
    check.status = c.problem == "could not be read" ? Verdict::kReview : Verdict::kFail;
    check.message = fmt::format("{}: {}", c.file, c.problem);
    check.evidence.push_back({c.file, c.problem_line, 0});
  } else {
    std::vector<std::string> missing;
    if (!c.val_bpb)
      missing.push_back(c.val_bpb_text.empty() ? "val_bpb" : fmt::format("val_bpb (says {})", c.val_bpb_text));
    if (c.name.empty()) missing.push_back("name");
    if (c.author.empty() && c.github_id.empty()) missing.push_back("author");
    check.evidence.push_back({c.file, c.val_bpb ? c.val_bpb->place.line : 0, 0});
    if (missing.empty()) {
      check.message = fmt::format("val_bpb {}, by {}", c.val_bpb->value, c.author.empty() ? c.github_id : c.author);
    } else {
      check.status = Verdict::kReview;
      check.message = fmt::format("no value for {}; is this a finished submission?", fmt::join(missing, ", "));
    }
  }
  report.add(std::move(check));
}

}  // namespace

void check_structure(const Facts& facts, verifier::Report& report) {
  check_files(facts, report);
  check_json(facts, report);
}

}  // namespace fairway::audit

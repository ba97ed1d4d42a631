/// What a verification says: a list of checks and a verdict, in the formats people and programs read.
///
/// Text in a report may come from untrusted files. It is kept as it was found; each format makes it safe for its reader
/// (escape.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"

namespace fairway::verifier {

enum class Verdict { kPass, kFail, kReview, kSkip };

/// A place that shows what a check says.
struct Evidence {
  std::string file;
  int64_t line = 0;       ///< from 1; 0: the file as a whole
  int64_t end_line = 0;   ///< the last line of a range; 0: `line` alone
  std::string note = {};  ///< what is to be seen there; may be empty
};

struct Check {
  std::string id;  ///< "replay.scores"; rules/rules.h holds all of them
  Verdict status = Verdict::kSkip;
  std::string message;
  std::string claimed, measured;  ///< empty if there is nothing to compare
  std::vector<Evidence> evidence = {};
};

struct Report {
  std::string subject_path;
  std::string subject_ref;  ///< the git reference it was read from; empty: a folder on disk
  std::string subject_sha256;
  std::vector<Check> checks;

  /// Aborts on an id that is not registered in rules/rules.h.
  void add(Check check);
  void add(std::string id, Verdict status, std::string message, std::string claimed = "", std::string measured = "");
  /// fail if a check failed; else review if one needs a person or nothing passed; else pass.
  Verdict verdict() const;
  /// 0 pass, 1 fail, 2 review.
  int exit_code() const;
  /// How many checks ended that way.
  int64_t count(Verdict status) const;
};

const char* verdict_name(Verdict verdict);

/// "train_gpt.py:1470-1496", "train_gpt.py:12" or "train_gpt.py", exact.
std::string place(const Evidence& evidence);

/// The exit code of several reports: 1 if one failed, else 2 if one is undecided or there is none, else 0.
int exit_code(std::span<const Report> reports);

/// For a person: checks by group, wrapped at `width_columns`, colour if asked; ends with "verdict: ...". No escape,
/// control or direction-changing character of an untrusted file reaches the terminal.
std::string to_text(const Report& report, bool colour, int width_columns = 100);

/// One line of JSON with the fixed shape of report.schema.json, in ASCII. A byte that is no UTF-8 becomes U+FFFD.
std::string to_json(const Report& report);

/// Reads what to_json wrote. Error kData naming `where` and the JSON pointer of what is missing or has the wrong type.
/// Unknown keys are ignored, so that a newer Fairway's reports can be read; ids need not be registered.
Result<Report> from_json(std::string_view text, const std::string& where);

/// A SARIF 2.1.0 log with one run: every registered rule with its help, and one result for each check that failed or
/// needs a person.
///
/// Both are results of kind "fail", levels as registered and "warning": code scanning shows no other kind to people.
/// What passed or was skipped is listed in the run's properties. Files are relative to the repository: the subject's
/// path, then the evidence's.
std::string to_sarif(std::span<const Report> reports);

/// JUnit XML: a suite for each report, a case for each check. A failed check is a failure; one that a person must look
/// at is an error, so that no CI shows it as passed; a report without checks has one such error.
std::string to_junit(std::span<const Report> reports);

/// A pull-request comment in GitHub's Markdown: the verdict, a table of checks, evidence to unfold. At most
/// kMarkdownMaxBytes; what did not fit is counted in its last lines. Nothing from untrusted text becomes markup, a link
/// or a mention.
std::string to_markdown(std::span<const Report> reports);
inline constexpr size_t kMarkdownMaxBytes = 65000;  ///< GitHub takes 65,536 characters

/// A single HTML file: a board of all reports, then each in full. No script, nothing loaded from elsewhere.
std::string to_html(std::span<const Report> reports, const std::string& title);

enum class Format { kText, kJson, kJsonl, kSarif, kJunit, kMarkdown };
inline constexpr const char* kFormatNames = "text, json, jsonl, sarif, junit or markdown";

/// Error kUsage naming --format.
Result<Format> parse_format(const std::string& name);

/// Whether the text of several reports is the texts of each, one after another; else they must be rendered together.
bool is_streamable(Format format);

struct RenderOptions {
  bool colour = false;
  int width_columns = 100;
};

/// Reports in a format. JSON holds exactly one report: Error kUsage for another number, naming jsonl.
Result<std::string> render(Format format, std::span<const Report> reports, const RenderOptions& options = {});

}  // namespace fairway::verifier

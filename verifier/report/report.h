/// What a verification says: a list of checks and a verdict, as text for a person or as stable JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fairway::verifier {

enum class Verdict { kPass, kFail, kReview, kSkip };

/// A place that shows what a check says.
struct Evidence {
  std::string file;
  int64_t line = 0;      ///< from 1; 0: the file as a whole
  int64_t end_line = 0;  ///< the last line of a range; 0: `line` alone
};

struct Check {
  std::string id;  ///< "replay.scores"; verifier/RULES.md lists them
  Verdict status = Verdict::kSkip;
  std::string message;
  std::string claimed, measured;  ///< empty if there is nothing to compare
  std::vector<Evidence> evidence;
};

struct Report {
  std::string subject_path;
  std::string subject_ref;  ///< the git reference it was read from; empty: a folder on disk
  std::string subject_sha256;
  std::vector<Check> checks;

  void add(std::string id, Verdict status, std::string message, std::string claimed = "", std::string measured = "");
  /// fail if a check failed; else review if one needs a person or nothing passed; else pass.
  Verdict verdict() const;
  /// 0 pass, 1 fail, 2 review.
  int exit_code() const;
};

const char* verdict_name(Verdict verdict);

/// For a person; colour if asked.
std::string to_text(const Report& report, bool colour);
/// One line of JSON with a fixed shape.
std::string to_json(const Report& report);

}  // namespace fairway::verifier

/// The memory of a verification that takes long: what its parts have found, so that one that was cut off goes on.
///
/// A file beside what is computed, replaced as a whole after every part. It belongs to one question (config, level,
/// data, options); with another one it is refused, so that no report is put together from two verifications. Goal: a
/// verification that was killed and continued gives the report of one that was not, byte for byte. Non-goal: trust.
/// Whoever can write the file can write the report.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "verifier/report/report.h"

namespace fairway::verifier {

class Journal {
 public:
  /// Everything that the report depends on, by name.
  using Question = std::map<std::string, std::string>;

  /// A new verification; `notes` are kept with it.
  static Result<Journal> start(std::string path, Question question, Question notes);

  /// One that was started. Errors: kNoInput if there is none; kData if the file is damaged; kUsage if it belongs to
  /// another question, naming what differs.
  static Result<Journal> resume(std::string path, const Question& question);

  /// What a part has found about this record; nullptr if it is not done, or was done about another record.
  const std::vector<Check>* find(const std::string& part, const std::string& record_sha256) const;

  /// Durable when it returns. A part that is kept again replaces what was there.
  Status keep(const std::string& part, const std::string& record_sha256, std::vector<Check> checks);

  const Question& notes() const { return notes_; }

 private:
  struct Part {
    std::string record_sha256;
    std::vector<Check> checks;
  };
  explicit Journal(std::string path) : path_(std::move(path)) {}
  Status read(const std::string& text);
  Status write() const;

  std::string path_;
  Question question_, notes_;
  std::map<std::string, Part> parts_;
};

}  // namespace fairway::verifier

/// Record folders straight from git objects: no work tree, no checkout, no network, no hook, no program of git.
///
/// An object that a partial clone left out is a state of its entry (FileState::kAbsent); nothing tries to fetch it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "verifier/audit/record_folder.h"

struct git_repository;

namespace fairway::audit {

/// Not for several threads at once: each opens its own.
class GitRepository {
 public:
  /// `base`: the branch pull requests are made against; empty: main or master, of the repository or its origin, else
  /// HEAD. Error kNoInput: `path` is no git repository, or there is no such base.
  static Result<std::unique_ptr<GitRepository>> open(const std::string& path, const std::string& base);
  virtual ~GitRepository() = default;

  /// Whether `ref` names a commit; Error kNoInput otherwise.
  virtual Status find(const std::string& ref) const = 0;

  /// The record folder that `ref` proposes, or `path` in it if given.
  ///
  /// Chosen among the folders with files that `ref` adds or changes since it left the base (a head that was merged:
  /// since the first parent of its merge). Preferred, in this order: not the same as in the base today (somebody
  /// else's, carried along), a submission.json added here, words in common with the title of the merge, touched by the
  /// last commit, a train_gpt.py added here, words in common with the commit messages, a record track, more files
  /// added, later in the alphabet. Error kNoInput: no such reference or path; kData: nothing in it could be a record
  /// folder, or more files than the bound. The folder must not outlive the repository.
  virtual Result<std::unique_ptr<RecordFolder>> folder(const std::string& ref, const std::string& path) = 0;
};

}  // namespace fairway::audit

/// Which of the folders that a branch touches is its record.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace fairway::audit {

struct ChangedFile {
  std::string path;
  bool added = false;        ///< status A, else changed
  bool last_commit = false;  ///< touched by the newest commit that is not a merge
};

struct ChooseInput {
  std::vector<ChangedFile> changed;
  std::string title;                                            ///< of the pull request, where its merge says it
  std::string messages;                                         ///< of the branch's commits
  std::function<bool(const std::string& folder)> has_json;      ///< submission.json directly in it
  std::function<bool(const std::string& folder)> same_in_base;  ///< the base has the same folder today
};

/// The folder without a trailing '/', "" for the root of the repository; nothing changed gives "" as well, with `found`
/// false.
std::string choose_folder(const ChooseInput& input, bool& found);

}  // namespace fairway::audit

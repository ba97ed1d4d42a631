#include "verifier/audit/folder/choose_folder.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "verifier/audit/read/text.h"

namespace fairway::audit {
namespace {

std::string parent(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

/// Files that make a folder a record: a change of a README elsewhere is none.
bool is_record_file(const std::string& path) {
  const std::string name = lower(path);
  return name.ends_with(".py") || name.ends_with(".json") || name.ends_with(".log") || name.ends_with(".txt") || name.ends_with(".md");
}

struct Candidate {
  bool json_added = false, last_commit = false, script_added = false;
  int added = 0, changed = 0;
};

/// How many words of a folder's last part occur in the messages.
int words_in_common(const std::string& folder, const std::string& messages) {
  const std::string name = lower(folder.substr(folder.rfind('/') + 1));
  int count = 0;
  for (size_t i = 0; i < name.size();) {
    size_t end = i;
    while (end < name.size() && (is_digit(name[end]) || (name[end] >= 'a' && name[end] <= 'z'))) ++end;
    const std::string word = name.substr(i, end - i);
    if (word.size() >= 3 && !std::all_of(word.begin(), word.end(), is_digit) && messages.find(word) != std::string::npos) ++count;
    i = end + 1;
  }
  return count;
}

}  // namespace

std::string choose_folder(const ChooseInput& input, bool& found) {
  std::map<std::string, bool> json_in;
  auto has_json = [&](const std::string& folder) {
    const auto [at, fresh] = json_in.emplace(folder, false);
    if (fresh) at->second = input.has_json(folder);
    return at->second;
  };
  // Files of subfolders belong to the nearest folder with a submission.json; without one, to records/<track>/<folder>.
  auto folder_of = [&](const std::string& path) {
    for (std::string at = parent(path); !at.empty(); at = parent(at)) {
      if (has_json(at)) return at;
    }
    std::string at = parent(path);
    const std::string top = path.substr(0, path.find('/'));
    const int64_t kept = top == "records" ? 2 : 0;
    while (std::count(at.begin(), at.end(), '/') > kept) at = parent(at);
    return at;
  };
  std::map<std::string, Candidate> candidates;
  for (const ChangedFile& f : input.changed) {
    if (!is_record_file(f.path)) continue;
    const std::string folder = folder_of(f.path);
    Candidate& c = candidates[folder];
    const std::string name = f.path.substr(f.path.rfind('/') + 1);
    c.json_added = c.json_added || (f.added && name == "submission.json");
    c.script_added = c.script_added || (f.added && name.ends_with(".py"));
    c.last_commit = c.last_commit || f.last_commit;
    (f.added ? c.added : c.changed) += 1;
  }
  found = !candidates.empty();
  std::string best;
  using Rank = std::tuple<bool, bool, bool, bool, bool, int, int, int, std::string>;
  Rank best_rank;
  for (const auto& [folder, c] : candidates) {
    const bool in_folder = !folder.empty();
    const bool record = folder.starts_with("records/") || c.json_added;
    const Rank rank{in_folder && !input.same_in_base(folder),
                    record && c.added > 0,
                    c.json_added,
                    c.last_commit,
                    c.script_added,
                    words_in_common(folder, input.messages),
                    c.added,
                    c.changed,
                    folder};
    if (best_rank < rank) {
      best = folder;
      best_rank = rank;
    }
  }
  return best;
}

}  // namespace fairway::audit

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
  return name.ends_with(".py") || name.ends_with(".json") || name.ends_with(".log") || name.ends_with(".txt") ||
         name.ends_with(".md");
}

struct Candidate {
  bool json_added = false, last_commit = false, script_added = false, main_script = false;
  int added = 0, changed = 0;
};

/// How many words of a folder's last part occur in a text. Words end at signs and before a capital:
/// "MixedQuant_Int6Int8" has four.
int words_in_common(const std::string& folder, const std::string& text) {
  const std::string name = folder.substr(folder.rfind('/') + 1), lowered = lower(text);
  auto is_letter = [](char c) { return is_word(c) && c != '_'; };
  auto is_capital = [](char c) { return c >= 'A' && c <= 'Z'; };
  int count = 0;
  for (size_t i = 0; i < name.size();) {
    size_t end = i;
    while (end < name.size() && is_letter(name[end]) &&
           !(end > i && is_capital(name[end]) && !is_capital(name[end - 1])))
      ++end;
    const std::string word = lower(std::string_view(name).substr(i, end - i));
    if (word.size() >= 3 && !std::all_of(word.begin(), word.end(), is_digit) && lowered.find(word) != std::string::npos)
      ++count;
    i = end + (end == i || (end < name.size() && !is_letter(name[end])) ? 1 : 0);
  }
  return count;
}

/// A subfolder of a record, or a submission.json in a subfolder whose script lies in the folder above: both are one
/// record.
void join_nested(std::map<std::string, Candidate>& candidates) {
  for (auto at = candidates.begin(); at != candidates.end();) {
    bool joined = false;
    for (std::string up = parent(at->first); !up.empty() && !joined; up = parent(up)) {
      const auto above = candidates.find(up);
      if (above == candidates.end() || !above->second.script_added ||
          (at->second.script_added && !above->second.json_added))
        continue;
      above->second.json_added = above->second.json_added || at->second.json_added;
      above->second.last_commit = above->second.last_commit || at->second.last_commit;
      above->second.added += at->second.added;
      above->second.changed += at->second.changed;
      joined = true;
    }
    at = joined ? candidates.erase(at) : std::next(at);
  }
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
    c.main_script = c.main_script || (f.added && name == "train_gpt.py");
    c.last_commit = c.last_commit || f.last_commit;
    (f.added ? c.added : c.changed) += 1;
  }
  join_nested(candidates);
  found = !candidates.empty();
  std::string best;
  using Rank = std::tuple<bool, bool, bool, int, bool, bool, int, bool, int, int, std::string>;
  Rank best_rank;
  for (const auto& [folder, c] : candidates) {
    const bool in_folder = !folder.empty();
    const bool record = folder.starts_with("records/") || c.json_added;
    const Rank rank{in_folder && !input.same_in_base(folder),
                    record && c.added > 0,
                    c.json_added,
                    words_in_common(folder, input.title),
                    c.last_commit,
                    c.main_script,
                    words_in_common(folder, input.messages),
                    folder.find("non_record") == std::string::npos,
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

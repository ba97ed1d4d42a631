#include "verifier/audit/source/settings.h"

#include <algorithm>
#include <cctype>
#include <set>

namespace fairway::audit::source {
namespace {

std::string normal(std::string_view name) {
  std::string key(name);
  for (char& c : key) c = c == '-' ? '_' : static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return key;
}

bool name_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }

/// Two places of files: where they lie decides nothing about what is done with them.
bool both_paths(const std::string& a, const std::string& b) {
  return a.find('/') != std::string::npos && b.find('/') != std::string::npos;
}

void put(std::map<std::string, Setting, std::less<>>& table, std::string key, std::string value, Place place,
         bool logged) {
  auto [at, inserted] = table.try_emplace(std::move(key), Setting{value, false, logged, place});
  if (!inserted && at->second.text != value) at->second.conflict |= !both_paths(at->second.text, value);
}

/// The value that starts at `at`: quoted, or up to a blank, a quote or a continuation.
std::string value_at(std::string_view line, size_t at) {
  if (at < line.size() && (line[at] == '"' || line[at] == '\'')) {
    const size_t end = line.find(line[at], at + 1);
    return std::string(line.substr(at + 1, (end == line.npos ? line.size() : end) - at - 1));
  }
  size_t end = at;
  while (end < line.size() && !std::isspace(static_cast<unsigned char>(line[end])) && line[end] != '\\' &&
         line[end] != '"' && line[end] != '\'' && line[end] != '`' && line[end] != ';') {
    ++end;
  }
  return std::string(line.substr(at, end - at));
}

/// Lower-case words; what a hyphen joins is one ("n-gram" is "ngram") and two.
std::set<std::string> words_of(std::string_view text) {
  std::set<std::string> words;
  std::string word, joined;
  for (size_t i = 0; i <= text.size(); ++i) {
    const char c = i < text.size() ? text[i] : ' ';
    if (std::isalnum(static_cast<unsigned char>(c))) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      continue;
    }
    if (!word.empty()) words.insert(word);
    joined += word;
    word.clear();
    if (c == '-') continue;
    if (!joined.empty()) words.insert(joined);
    joined.clear();
  }
  return words;
}

/// The first heading.
std::string_view title_of(std::string_view readme) {
  for (size_t begin = 0; begin < readme.size();) {
    const size_t end = std::min(readme.find('\n', begin), readme.size());
    const std::string_view line = readme.substr(begin, end - begin);
    if (line.starts_with("#")) return line.substr(0, 400);
    begin = end + 1;
  }
  return {};
}

}  // namespace

Settings::Settings(const Facts& facts) {
  for (const LoggedRun& run : facts.runs) {
    any_run_ |= !run.scores.empty();
    for (const auto& [key, fact] : run.hyperparameters) put(logged_values_, normal(key), fact.value, fact.place, true);
  }
  title_ = words_of(title_of(facts.readme));
  title_.merge(words_of(facts.claims.name));
  read_mentions(facts.readme);
  read_commands(facts.readme, facts.readme_file, false);
  for (const SourceFile& source : facts.sources) {
    if (source.language == Language::kShell) read_commands(source.text, source.name, true);
  }
}

void Settings::read_commands(const std::string& text, const std::string& file, bool everywhere) {
  bool fenced = everywhere;
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    size_t end = text.find('\n', begin);
    if (end == std::string::npos) end = text.size();
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (!everywhere && line.substr(0, 8).find("```") != line.npos) {
      fenced = !fenced;
      continue;
    }
    if (!fenced || line.size() > 4096) continue;
    for (size_t at = 0; at < line.size(); ++at) {
      if (at > 0 && name_char(line[at - 1])) continue;
      if (line.compare(at, 2, "--") == 0) {  // --ttt-epochs 3, --ttt-epochs=3, --flag
        size_t stop = at + 2;
        while (stop < line.size() && (name_char(line[stop]) || line[stop] == '-')) ++stop;
        if (stop == at + 2) continue;
        std::string key = normal(line.substr(at + 2, stop - at - 2));
        std::string value =
            stop < line.size() && (line[stop] == '=' || line[stop] == ' ') ? value_at(line, stop + 1) : "";
        if (value.empty() || value.rfind("--", 0) == 0) value = "True";
        put(command_values_, std::move(key), std::move(value), {file, number}, false);
        at = stop;
        continue;
      }
      if (!std::isupper(static_cast<unsigned char>(line[at]))) continue;
      size_t stop = at;
      while (stop < line.size() && name_char(line[stop])) ++stop;
      const bool upper = std::none_of(line.begin() + static_cast<long>(at), line.begin() + static_cast<long>(stop),
                                      [](char c) { return std::islower(static_cast<unsigned char>(c)); });
      if (upper && stop - at >= 3 && stop < line.size() && line[stop] == '=' && line.compare(stop, 2, "==") != 0) {
        std::string value = value_at(line, stop + 1);
        if (value.find('$') == std::string::npos)
          put(command_values_, normal(line.substr(at, stop - at)), value, {file, number}, false);
      }
      at = stop;
    }
  }
}

void Settings::read_mentions(std::string_view text) {
  for (size_t begin = text.find('`'); begin != text.npos;) {
    const size_t end = text.find('`', begin + 1);
    if (end == text.npos) return;
    const std::string_view code = text.substr(begin + 1, end - begin - 1);
    const size_t sign = code.find('=');
    if (sign != code.npos && code.size() < 200 &&
        std::all_of(code.begin(), code.begin() + static_cast<long>(sign), name_char))
      mentions_.emplace(normal(code.substr(0, sign)), value_at(code, sign + 1));
    begin = text.find('`', end + 1);
  }
}

const std::string* Settings::mentioned(std::string_view name) const {
  const auto found = mentions_.find(normal(name));
  return found == mentions_.end() ? nullptr : &found->second;
}

bool Settings::titled(std::string_view name) const {
  for (const char* word : {"no", "not", "without", "negative", "vs", "versus", "instead", "failed", "ablation"}) {
    if (title_.count(word)) return false;
  }
  bool is_switch = false, named = false;
  for (const std::string& word : words_of(normal(name))) {
    if (word == "enabled" || word == "enable" || word == "use") {
      is_switch = true;
    } else if (title_.count(word)) {
      named = true;
    } else {
      return false;
    }
  }
  return is_switch && named;
}

const Setting* Settings::find(std::string_view name) const {
  const std::string key = normal(name);
  if (const auto found = logged_values_.find(key); found != logged_values_.end()) return &found->second;
  if (const auto found = command_values_.find(key); found != command_values_.end()) return &found->second;
  return nullptr;
}

}  // namespace fairway::audit::source

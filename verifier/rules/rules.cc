#include "verifier/rules/rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "verifier/report/escape.h"
#include "verifier/rules/groups.h"

namespace fairway::verifier {
namespace {

/// Levenshtein's distance: insertions, deletions and replacements that turn `a` into `b`.
size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, replaced});
    }
  }
  return row.back();
}

}  // namespace

std::span<const Rule> rules() {
  static const std::vector<Rule> all = [] {
    std::vector<Rule> list;
    for (auto group : {record_rules(), legality_rules(), replay_rules(), ledger_rules(), causality_rules()}) {
      list.insert(list.end(), group.begin(), group.end());
    }
    return list;
  }();
  return all;
}

const Rule* find_rule(std::string_view id) {
  for (const Rule& r : rules()) {
    if (r.id == id) return &r;
  }
  return nullptr;
}

std::vector<std::string> nearest_rules(std::string_view id, size_t count) {
  id = id.substr(0, 64);  // no id is longer; the distance costs the product of both lengths
  std::vector<std::pair<size_t, std::string>> ranked;
  for (const Rule& r : rules()) {
    // Somebody who leaves the group out means the name after it.
    const std::string_view whole = r.id, name = whole.substr(whole.find('.') + 1);
    ranked.emplace_back(std::min(edit_distance(id, whole), edit_distance(id, name)), r.id);
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> nearest;
  for (size_t i = 0; i < std::min(count, ranked.size()); ++i) nearest.push_back(ranked[i].second);
  return nearest;
}

Result<std::string> explain_rule(std::string_view id, int width_columns) {
  const Rule* r = find_rule(id);
  if (r == nullptr) {
    return Error{
        Errc::kUsage, "--explain",
        fmt::format("no rule \"{}\"; the nearest are {}", visible(id, 80), fmt::join(nearest_rules(id, 3), ", "))};
  }
  std::string page = fmt::format("{}: {}\n", r->id, r->title);
  auto section = [&](const char* head, const char* text) {
    if (*text == '\0') return;
    page += fmt::format("\n{}\n", head);
    for (const std::string& line : wrap(text, width_columns - 2)) page += "  " + line + "\n";
  };
  section("Rule", r->rule);
  section("Why", r->why);
  section("What is legal", r->legal);
  section("Settled by", r->source);
  if (*r->url != '\0') page += fmt::format("  {}\n", r->url);
  return page;
}

const char* level_name(Level level) {
  switch (level) {
    case Level::kError:
      return "error";
    case Level::kWarning:
      return "warning";
    case Level::kNote:
      return "note";
  }
  return "";
}

}  // namespace fairway::verifier

/// The registry of checks: every id a report may carry, with what a person needs to understand and act on it.
///
/// verifier/RULES.md lists the same ids with how each is detected; a test keeps the two from drifting apart, and
/// Report::add refuses an id that is not registered. A new check is one entry in the file of its group here and one row
/// there.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"

namespace fairway::verifier {

/// How severe a broken rule is for tools that know only levels (SARIF's names).
enum class Level { kError, kWarning, kNote };

struct Rule {
  const char* id;      ///< "legality.score_first": a group, a point, a name
  const char* title;   ///< one line
  const char* rule;    ///< what must hold
  const char* why;     ///< why the rule exists
  const char* legal;   ///< what may be done instead; empty if nothing needs saying
  const char* source;  ///< where it was settled
  const char* url;     ///< the same for a browser; empty for rules of Fairway's own formats
  Level level = Level::kError;
};

/// Every rule, group by group; within a group in the order of verifier/RULES.md.
std::span<const Rule> rules();

/// The rule of that id, or null.
const Rule* find_rule(std::string_view id);

/// The registered ids nearest to `id` by edit distance, nearest first, at most `count`.
std::vector<std::string> nearest_rules(std::string_view id, size_t count);

/// The page `--explain` prints, wrapped at `width_columns`. Error kUsage with the nearest ids if there is no such rule.
Result<std::string> explain_rule(std::string_view id, int width_columns);

const char* level_name(Level level);

}  // namespace fairway::verifier

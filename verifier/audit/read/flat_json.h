/// JSON as a list of scalars, each with its JSON pointer and line: what a reader of foreign, sometimes damaged files
/// needs.
///
/// Goals: line numbers; bounds on nesting and on the number of values; what stands before a damage is kept. Non-goal:
/// writing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fairway::audit {

struct JsonScalar {
  enum class Type { kNull, kBool, kInteger, kFloat, kString };
  std::string pointer;  ///< RFC 6901: "/seed_results/42/val_bpb"
  Type type = Type::kNull;
  std::string text;   ///< as written, a string without quotes
  double number = 0;  ///< of kInteger and kFloat
  int64_t line = 0;
};

struct FlatJson {
  std::vector<JsonScalar> scalars;  ///< in order of the file
  bool is_object = false;           ///< the outermost value is an object
  std::string problem;              ///< empty: the file is one JSON document; else what is wrong with it
  int64_t problem_line = 0;
};

/// Reads the first JSON object or array of `text`; text before or after it is a problem but not the end.
FlatJson read_flat_json(std::string_view text);

}  // namespace fairway::audit

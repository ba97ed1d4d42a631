/// submission.json in its many variants: aliases of keys, numbers as strings, seeds as objects, lists or keys of their
/// own.
#pragma once

#include <string>
#include <string_view>

#include "verifier/audit/facts.h"

namespace fairway::audit {

/// `text`: decoded (decode_text). A damaged file gives what stands before the damage, `parsed` false and `problem`.
Claims read_submission_json(const std::string& file, std::string_view text);

}  // namespace fairway::audit

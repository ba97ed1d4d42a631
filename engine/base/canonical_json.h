/// Canonical JSON (RFC 8785) for what is hashed or signed: of the numbers only integers within 2^53, which every JSON
/// reader holds exactly. Floating-point values are written as hexadecimal strings instead.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "engine/base/result.h"

namespace fairway {

/// Deeper nesting than this is refused, on reading and on writing.
inline constexpr int kMaxJsonDepth = 64;

/// No white space, keys in the order of their UTF-16 code units, the shortest escapes. kData, naming the place inside
/// `value` ("predicate.runs[0].seed"), for a float, an integer beyond 2^53, text that is not UTF-8, or nesting that is
/// too deep; `where` comes before it.
Result<std::string> canonical_json(const nlohmann::json& value, const std::string& where);

/// Reads any JSON text. kData with line and column for what is no JSON, for a key that occurs twice in an object and
/// for nesting that is too deep.
Result<nlohmann::json> parse_json(std::string_view text, const std::string& where);

/// Reads a text that must be its own canonical form, byte for byte; kData with the offset of the first difference.
Result<nlohmann::json> parse_canonical_json(std::string_view text, const std::string& where);

}  // namespace fairway

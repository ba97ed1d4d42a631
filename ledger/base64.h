/// Base64 of RFC 4648, section 4: the standard alphabet, padded.
///
/// Decoding is strict: only the text that encoding would give is accepted (no line breaks, no missing padding, no stray
/// bits at the end), so that equal bytes have exactly one text and no bit of a signed line can change unnoticed.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fairway::ledger {

std::string base64_encode(std::string_view bytes);
std::optional<std::string> base64_decode(std::string_view text);

}  // namespace fairway::ledger

/// Bytes of unknown encoding as text of lines, and the small scanning steps that the readers share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fairway::audit {

/// UTF-8 with "\n" line ends: a byte order mark goes, UTF-16 (by its mark, or by every second byte being zero) is
/// decoded, "\r\n" and a lone "\r" become "\n" (progress bars), ANSI escape sequences go. Bytes that are not UTF-8 stay
/// as they are. Line numbers count "\n" of the result, as an editor with universal line ends shows them.
std::string decode_text(std::string bytes);

/// Holds a zero byte or many control characters in its first 8 KiB: not text.
bool looks_binary(std::string_view decoded);

/// Goes through the lines of a text; `line` excludes its end, `number` counts from 1.
class Lines {
 public:
  explicit Lines(std::string_view text) : text_(text) {}
  bool next(std::string_view& line);
  int64_t number() const { return number_; }

 private:
  std::string_view text_;
  size_t at_ = 0;
  int64_t number_ = 0;
};

std::string_view trim(std::string_view s);
bool is_word(char c);  ///< [A-Za-z0-9_]
bool is_digit(char c);
std::string lower(std::string_view s);
/// Case-insensitive for ASCII; `needle` in lower case.
bool contains_lower(std::string_view haystack, std::string_view needle);

/// A decimal number at the start of `s`: [-+]?(d+.?d*|.d+)([eE][-+]?d+)?.
struct Number {
  double value = 0;
  size_t length = 0;  ///< characters taken
  int decimals = 0;   ///< digits after the point
};
std::optional<Number> number_at(std::string_view s);
/// Digits with commas between them: "15,353,490". Nothing if it has no digit or does not fit.
std::optional<int64_t> integer_at(std::string_view s, size_t* length = nullptr);
/// Skips blanks, one of ':' or '=', blanks and the stars of Markdown; npos if there is no such sign.
size_t after_separator(std::string_view s, size_t at);

}  // namespace fairway::audit

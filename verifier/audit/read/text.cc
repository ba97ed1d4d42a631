#include "verifier/audit/read/text.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace fairway::audit {
namespace {

void append_utf8(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 63));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 63));
    out += static_cast<char>(0x80 | (c & 63));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 63));
    out += static_cast<char>(0x80 | (c >> 6 & 63));
    out += static_cast<char>(0x80 | (c & 63));
  }
}

std::string from_utf16(std::string_view bytes, bool big_endian) {
  auto unit = [&](size_t i) {
    const auto a = static_cast<unsigned char>(bytes[i]), b = static_cast<unsigned char>(bytes[i + 1]);
    return static_cast<uint32_t>(big_endian ? a << 8 | b : b << 8 | a);
  };
  std::string out;
  out.reserve(bytes.size() / 2);
  for (size_t i = 0; i + 1 < bytes.size(); i += 2) {
    uint32_t c = unit(i);
    if (c >= 0xD800 && c < 0xDC00 && i + 3 < bytes.size()) {
      if (const uint32_t low = unit(i + 2); low >= 0xDC00 && low < 0xE000) {
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        i += 2;
      }
    }
    if (c >= 0xD800 && c < 0xE000) c = 0xFFFD;  // half of a pair
    append_utf8(out, c);
  }
  return out;
}

/// UTF-16 without a mark: of the first 512 bytes, nearly every second one is zero.
std::optional<bool> unmarked_utf16_is_big_endian(std::string_view bytes) {
  const size_t n = std::min<size_t>(bytes.size(), 512) & ~size_t{1};
  if (n < 16) return std::nullopt;
  size_t even = 0, odd = 0;
  for (size_t i = 0; i < n; i += 2) {
    even += bytes[i] == 0;
    odd += bytes[i + 1] == 0;
  }
  if (odd * 10 >= n / 2 * 9 && even == 0) return false;
  if (even * 10 >= n / 2 * 9 && odd == 0) return true;
  return std::nullopt;
}

/// The length of an ANSI escape sequence at the start of `s`: "\x1b[...m", "\x1b]...\x07" or two bytes.
size_t escape_length(std::string_view s) {
  if (s.size() < 2) return 1;
  if (s[1] == '[') {
    size_t i = 2;
    while (i < s.size() && i < 64 && static_cast<unsigned char>(s[i]) >= 0x20 &&
           static_cast<unsigned char>(s[i]) < 0x40)
      ++i;
    return std::min(i + 1, s.size());
  }
  if (s[1] == ']') {
    for (size_t i = 2; i < s.size() && i < 512; ++i) {
      if (s[i] == '\a') return i + 1;
    }
  }
  return 2;
}

}  // namespace

std::string decode_text(std::string bytes) {
  using namespace std::string_view_literals;
  const std::string_view s = bytes;
  if (s.starts_with("\xFF\xFE"sv) || s.starts_with("\xFE\xFF"sv)) {
    bytes = from_utf16(s.substr(2), s[0] == '\xFE');
  } else if (const auto big_endian = unmarked_utf16_is_big_endian(s)) {
    bytes = from_utf16(s, *big_endian);
  } else if (s.starts_with("\xEF\xBB\xBF"sv)) {
    bytes.erase(0, 3);
  }
  if (std::memchr(bytes.data(), '\r', bytes.size()) == nullptr &&
      std::memchr(bytes.data(), '\x1b', bytes.size()) == nullptr)
    return bytes;
  size_t out = 0;
  for (size_t i = 0; i < bytes.size();) {
    if (bytes[i] == '\x1b') {
      i += escape_length(std::string_view(bytes).substr(i));
      continue;
    }
    if (bytes[i] == '\r') {
      if (i + 1 < bytes.size() && bytes[i + 1] == '\n') ++i;
      bytes[i] = '\n';
    }
    bytes[out++] = bytes[i++];
  }
  bytes.resize(out);
  return bytes;
}

bool looks_binary(std::string_view decoded) {
  const std::string_view head = decoded.substr(0, 8192);
  size_t control = 0;
  for (const char c : head) {
    if (c == 0) return true;
    control += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' && c != '\f';
  }
  return control * 20 > head.size();
}

bool Lines::next(std::string_view& line) {
  if (at_ >= text_.size()) return false;
  const size_t end = std::min(text_.find('\n', at_), text_.size());
  line = text_.substr(at_, end - at_);
  at_ = end + 1;
  ++number_;
  return true;
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_word(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

namespace {
char lower_char(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
}  // namespace

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) c = lower_char(c);
  return out;
}

bool contains_lower(std::string_view haystack, std::string_view needle) {
  return std::search(haystack.begin(), haystack.end(), needle.begin(), needle.end(),
                     [](char a, char b) { return lower_char(a) == b; }) != haystack.end();
}

std::optional<Number> number_at(std::string_view s) {
  size_t i = 0;
  if (i < s.size() && (s[i] == '-' || s[i] == '+')) ++i;
  const size_t whole = i;
  while (i < s.size() && is_digit(s[i])) ++i;
  size_t digits = i - whole;
  int decimals = 0;
  if (i < s.size() && s[i] == '.') {
    size_t j = i + 1;
    while (j < s.size() && is_digit(s[j])) ++j;
    decimals = static_cast<int>(std::min<size_t>(j - i - 1, 1000));
    if (digits + static_cast<size_t>(decimals) == 0) return std::nullopt;
    i = j;
    digits += static_cast<size_t>(decimals);
  }
  if (digits == 0) return std::nullopt;
  if (i + 1 < s.size() && (s[i] == 'e' || s[i] == 'E')) {
    size_t j = i + 1;
    if (s[j] == '-' || s[j] == '+') ++j;
    const size_t exponent = j;
    while (j < s.size() && is_digit(s[j])) ++j;
    if (j > exponent) i = j;
  }
  Number out;
  const char* first = s.data() + (s[0] == '+' ? 1 : 0);
  // Out of range (1e999): from_chars leaves the value alone; such a number is no measurement.
  if (std::from_chars(first, s.data() + i, out.value).ec != std::errc()) return std::nullopt;
  out.length = i;
  out.decimals = decimals;
  return out;
}

std::optional<int64_t> integer_at(std::string_view s, size_t* length) {
  int64_t value = 0;
  size_t i = 0, digits = 0;
  for (; i < s.size(); ++i) {
    if (s[i] == ',' && digits > 0 && i + 1 < s.size() && is_digit(s[i + 1])) continue;
    if (!is_digit(s[i])) break;
    if (++digits > 18) return std::nullopt;
    value = value * 10 + (s[i] - '0');
  }
  if (digits == 0) return std::nullopt;
  if (length != nullptr) *length = i;
  return value;
}

size_t after_separator(std::string_view s, size_t at) {
  while (at < s.size() && s[at] == ' ') ++at;
  if (at >= s.size() || (s[at] != ':' && s[at] != '=')) return std::string_view::npos;
  ++at;
  while (at < s.size() && (s[at] == ' ' || s[at] == '\t' || s[at] == '*')) ++at;
  return at;
}

}  // namespace fairway::audit

#include "verifier/report/escape.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

namespace fairway::verifier {
namespace {

struct Decoded {
  uint32_t code = 0;
  size_t size_bytes = 0;  // 0: no valid sequence starts here
};

/// The UTF-8 sequence at the start of `text`: shortest form only, no surrogates, at most U+10FFFF.
Decoded decode(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const size_t size = lead >= 0xf0 && lead < 0xf8   ? 4
                      : lead >= 0xe0 && lead < 0xf0 ? 3
                      : lead >= 0xc0 && lead < 0xe0 ? 2
                                                    : 0;
  if (size == 0 || text.size() < size) return {};
  uint32_t code = lead & (0x7fu >> size);
  for (size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3fu);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < kSmallest[size] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return {};
  return {code, size};
}

/// Characters that act or hide instead of showing: Unicode's Cc, Cf, line separators and non-characters.
bool acts(uint32_t code) {
  struct Range {
    uint32_t first, last;
  };
  static constexpr Range kRanges[] = {{0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},     {0x600, 0x605},
                                      {0x61c, 0x61c},   {0x6dd, 0x6dd},   {0x70f, 0x70f},   {0x180e, 0x180e},
                                      {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f}, {0xfdd0, 0xfdef},
                                      {0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xfffe, 0xffff}, {0xe0000, 0xe0fff}};
  if ((code & 0xfffe) == 0xfffe) return true;
  return std::any_of(std::begin(kRanges), std::end(kRanges),
                     [&](const Range& r) { return code >= r.first && code <= r.last; });
}

/// Marks a character of the start of valid UTF-8; continuation bytes are no starts.
bool starts_character(char c) { return (static_cast<uint8_t>(c) & 0xc0) != 0x80; }

/// A word that Markdown, with GitHub's links for addresses, mentions, issues and commits, leaves as it is.
bool is_plain(std::string_view word) {
  size_t hex_run = 0;
  for (size_t i = 0; i < word.size(); ++i) {
    const char c = word[i];
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'), digit = c >= '0' && c <= '9';
    if (!letter && !digit && std::string_view(",.;:?!()'%/+=-").find(c) == std::string_view::npos) return false;
    if (c == ':' && i + 1 < word.size()) return false;  // a scheme, an emoji
    if ((c == '(' && i > 0) || (c == '!' && i + 1 < word.size())) return false;
    hex_run = digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') ? hex_run + 1 : 0;
    if (hex_run >= 7) return false;  // may name a commit
  }
  const auto starts = [&](std::string_view prefix) {
    return word.size() >= prefix.size() && std::equal(prefix.begin(), prefix.end(), word.begin(), [](char p, char w) {
             return p == (w >= 'A' && w <= 'Z' ? w + 32 : w);
           });
  };
  return !starts("www.") && !starts("(www.") && !starts("gh-") && !starts("(gh-");
}

/// `shown`, already visible, as a code span: fenced by more backticks than it holds in a row.
std::string code_span(std::string_view shown) {
  if (shown.empty()) return "";
  size_t longest = 0, run = 0;
  for (char c : shown) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  const std::string fence(longest + 1, '`');
  const bool pad = shown.front() == '`' || shown.back() == '`' || (shown.front() == ' ' && shown.back() == ' ');
  return fmt::format("{0}{1}{2}{1}{0}", fence, pad ? " " : "", shown);
}

}  // namespace

std::string visible(std::string_view text, size_t max_bytes) {
  std::string_view shown = text;
  if (text.size() > max_bytes) {
    size_t end = max_bytes;
    // Not within a character; at most three bytes belong to one that starts earlier.
    for (int back = 0; back < 3 && end > 0 && !starts_character(text[end]); ++back) --end;
    shown = text.substr(0, end);
  }
  std::string out;
  out.reserve(shown.size());
  for (size_t i = 0; i < shown.size();) {
    const Decoded d = decode(shown.substr(i));
    if (d.size_bytes == 0) {
      out += fmt::format("\\x{:02x}", static_cast<uint8_t>(shown[i]));
      ++i;
      continue;
    }
    if (d.code == '\n') {
      out += "\\n";
    } else if (d.code == '\r') {
      out += "\\r";
    } else if (d.code == '\t') {
      out += "\\t";
    } else if (acts(d.code)) {
      out += d.code < 0x80 ? fmt::format("\\x{:02x}", d.code) : fmt::format("\\u{{{:x}}}", d.code);
    } else {
      out += shown.substr(i, d.size_bytes);
    }
    i += d.size_bytes;
  }
  if (shown.size() < text.size()) out += fmt::format(" ... ({} more bytes)", text.size() - shown.size());
  return out;
}

std::string markup_escape(std::string_view text, size_t max_bytes) {
  std::string out;
  for (char c : visible(text, max_bytes)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string markdown_code(std::string_view text, size_t max_bytes) { return code_span(visible(text, max_bytes)); }

std::string markdown_prose(std::string_view text, size_t max_bytes) {
  const std::string shown = visible(text, max_bytes);
  std::string out, code;
  auto end_code = [&] {
    if (code.empty()) return;
    if (!out.empty()) out += ' ';
    out += code_span(code);
    code.clear();
  };
  for (size_t i = 0; i < shown.size();) {
    if (shown[i] == ' ') {
      ++i;
      continue;
    }
    const size_t end = std::min(shown.find(' ', i), shown.size());
    const std::string_view word = std::string_view(shown).substr(i, end - i);
    i = end;
    if (!is_plain(word)) {
      const size_t last = word.find_last_not_of(",;:."),
                   kept = last == std::string_view::npos ? word.size() : last + 1;  // the sentence's own stays outside
      if (!code.empty()) code += ' ';
      code += word.substr(0, kept);
      if (kept < word.size()) {
        end_code();
        out += word.substr(kept);
      }
      continue;
    }
    end_code();
    out += out.empty() ? "" : " ";
    out += word;
  }
  end_code();
  return out;
}

std::string uri_path(std::string_view path) {
  std::string out;
  for (char c : path) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'), digit = c >= '0' && c <= '9';
    if (letter || digit || c == '/' || c == '.' || c == '-' || c == '_' || c == '~') {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<uint8_t>(c));
    }
  }
  return out;
}

size_t width_columns(std::string_view text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), starts_character));
}

std::vector<std::string> wrap(std::string_view text, int width_columns) {
  const size_t width = static_cast<size_t>(std::max(width_columns, 20));
  std::vector<std::string> lines(1);
  size_t column = 0;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == ' ') {
      ++i;
      continue;
    }
    const size_t end = std::min(text.find(' ', i), text.size());
    std::string_view word = text.substr(i, end - i);
    i = end;
    size_t columns = verifier::width_columns(word);
    if (column > 0 && column + 1 + columns > width) {
      lines.emplace_back();
      column = 0;
    } else if (column > 0) {
      lines.back() += ' ';
      ++column;
    }
    while (columns > width) {
      size_t bytes = 0;
      for (size_t seen = 0; bytes < word.size() && (seen < width || !starts_character(word[bytes])); ++bytes)
        seen += starts_character(word[bytes]) ? 1 : 0;
      lines.back() += word.substr(0, bytes);
      lines.emplace_back();
      word.remove_prefix(bytes);
      columns -= width;
    }
    lines.back() += word;
    column += columns;
  }
  return lines;
}

}  // namespace fairway::verifier

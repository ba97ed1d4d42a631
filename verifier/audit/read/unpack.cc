#include "verifier/audit/read/unpack.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "verifier/audit/limits.h"
#include "verifier/audit/read/decompress.h"
#include "verifier/audit/read/text.h"

namespace fairway::audit {
namespace {

using namespace std::string_view_literals;

constexpr size_t kNone = std::string_view::npos;
constexpr size_t kShortestPacked = 200;  // characters; shorter strings are keys and hashes

enum class Encoding { kBase85, kAscii85, kBase64 };

// ---- encodings
// ------------------------------------------------------------------------------------------------------------------

constexpr auto kBase85Alphabet =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"sv;

/// Groups of five digits of base 85 to four bytes, the last group padded as Python pads it.
template <class DigitOf>
std::optional<std::string> from_base85(std::string_view s, bool has_z, char padding, DigitOf digit_of) {
  std::string out;
  std::array<char, 5> group;
  size_t filled = 0;
  auto flush = [&](size_t missing) {
    uint64_t value = 0;
    for (const char c : group) value = value * 85 + static_cast<uint64_t>(digit_of(c));
    if (value > 0xFFFFFFFFu) return false;
    for (size_t i = 0; i < 4 - missing; ++i) out += static_cast<char>(value >> (24 - 8 * i) & 255);
    return true;
  };
  for (const char c : s) {
    if (has_z && c == 'z' && filled == 0) {
      out.append(4, '\0');
      continue;
    }
    if (digit_of(c) < 0) return std::nullopt;
    group[filled++] = c;
    if (filled < 5) continue;
    if (!flush(0)) return std::nullopt;
    filled = 0;
  }
  if (filled > 0) {
    const size_t missing = 5 - filled;
    std::fill(group.begin() + static_cast<std::ptrdiff_t>(filled), group.end(), padding);
    if (missing > 3 || !flush(missing)) return std::nullopt;
  }
  return out;
}

std::optional<std::string> from_base64(std::string_view s) {
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : s) {
    int v = -1;
    if (c >= 'A' && c <= 'Z') v = c - 'A';
    if (c >= 'a' && c <= 'z') v = c - 'a' + 26;
    if (is_digit(c)) v = c - '0' + 52;
    if (c == '+' || c == '-') v = 62;
    if (c == '/' || c == '_') v = 63;
    if (c == '=') break;
    if (v < 0) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(v);
    if ((count += 6) < 8) continue;
    count -= 8;
    out += static_cast<char>(bits >> count & 255);
  }
  return out;
}

std::optional<std::string> decode(Encoding encoding, std::string_view s) {
  static const auto base85_digits = [] {
    std::array<int, 256> t;
    t.fill(-1);
    for (size_t i = 0; i < kBase85Alphabet.size(); ++i)
      t[static_cast<unsigned char>(kBase85Alphabet[i])] = static_cast<int>(i);
    return t;
  }();
  switch (encoding) {
    case Encoding::kBase85:
      return from_base85(s, false, '~', [](char c) { return base85_digits[static_cast<unsigned char>(c)]; });
    case Encoding::kAscii85:
      if (s.starts_with("<~")) s.remove_prefix(2);
      if (s.ends_with("~>")) s.remove_suffix(2);
      return from_base85(s, true, 'u', [](char c) { return c >= '!' && c <= 'u' ? c - '!' : -1; });
    case Encoding::kBase64:
      return from_base64(s);
  }
  return std::nullopt;
}

// ---- Python strings
// -------------------------------------------------------------------------------------------------------------

/// Reads expressions that are strings: literals side by side or joined by '+', lists of them, names of variables.
class StringReader {
 public:
  explicit StringReader(std::string_view source) : source_(source) {}

  /// The value of the expression at `at`, without white space (the encodings have none); nothing if it is something
  /// else.
  std::optional<std::string> expression(size_t at, int depth = 0) const {
    std::string out;
    bool any = false;
    int open = 0;
    while (at < source_.size()) {
      at = skip_blanks(at);
      if (at >= source_.size()) break;
      const char c = source_[at];
      if (const size_t quote = quote_at(at); quote != kNone) {
        const bool raw = source_.substr(at, quote - at).find_first_of("rR") != kNone;
        at = literal(quote, raw, out);
        if (at == kNone) return std::nullopt;
        any = true;
        if (out.size() > static_cast<size_t>(limits::kTextFileBytes)) return std::nullopt;
      } else if (c == '(' || c == '[') {
        ++open;
        ++at;
      } else if (c == '+' || (c == ',' && open > 0)) {
        ++at;
      } else if ((c == ')' || c == ']') && open > 0) {
        --open;
        ++at;
      } else if (source_.substr(at).starts_with(".join")) {
        out.clear();  // the separator
        at += 5;
      } else if (!any && is_word(c) && depth < 4) {
        size_t end = at;
        while (end < source_.size() && is_word(source_[end])) ++end;
        return variable(source_.substr(at, end - at), depth);
      } else if (any && out.empty() && is_word(c) && depth < 4) {  // "".join(PARTS)
        size_t end = at;
        while (end < source_.size() && is_word(source_[end])) ++end;
        return variable(source_.substr(at, end - at), depth);
      } else {
        break;
      }
    }
    return any ? std::optional(std::move(out)) : std::nullopt;
  }

 private:
  size_t skip_blanks(size_t at) const {
    while (at < source_.size()) {
      if (" \t\n"sv.find(source_[at]) != kNone || source_.substr(at).starts_with("\\\n")) {
        ++at;
      } else if (source_[at] == '#') {
        at = std::min(source_.find('\n', at), source_.size());
      } else {
        break;
      }
    }
    return at;
  }

  /// The quote of a literal whose prefix (b, r, u) starts at `at`.
  size_t quote_at(size_t at) const {
    size_t q = at;
    while (q < source_.size() && q < at + 2 && "bBrRuU"sv.find(source_[q]) != kNone) ++q;
    return q < source_.size() && (source_[q] == '"' || source_[q] == '\'') ? q : kNone;
  }

  /// Appends the content without white space and backslash-newline; the index after it, kNone if it does not end.
  size_t literal(size_t quote, bool raw, std::string& out) const {
    const char q = source_[quote];
    const bool triple = source_.substr(quote).starts_with(std::string(3, q));
    const size_t width = triple ? 3 : 1;
    const std::string end_mark(width, q);
    for (size_t i = quote + width; i < source_.size(); ++i) {
      const char c = source_[i];
      if (c == q && source_.substr(i).starts_with(end_mark)) return i + width;
      if (c == '\n' && !triple) return kNone;
      if (c == '\\' && !raw) {
        if (i + 1 < source_.size() && (source_[i + 1] == '\\' || source_[i + 1] == q)) out += source_[i + 1];
        ++i;  // "\n" and a continued line are white space
        continue;
      }
      if (" \t\n"sv.find(c) == kNone) out += c;
    }
    return kNone;
  }

  /// The value last assigned to `name` at the start of a statement.
  std::optional<std::string> variable(std::string_view name, int depth) const {
    for (size_t at = source_.rfind(name); at != kNone; at = at == 0 ? kNone : source_.rfind(name, at - 1)) {
      if (at > 0 && "\n; \t"sv.find(source_[at - 1]) == kNone) continue;
      size_t v = skip_blanks(at + name.size());
      if (v + 1 >= source_.size() || source_[v] != '=' || source_[v + 1] == '=') continue;
      if (auto value = expression(v + 1, depth + 1)) return value;
    }
    return std::nullopt;
  }

  std::string_view source_;
};

struct Call {
  Encoding encoding;
  size_t at, argument;
};

/// Calls of the decoding functions, in order.
std::vector<Call> decode_calls(std::string_view source) {
  constexpr std::array<std::pair<std::string_view, Encoding>, 4> kNames = {{{"b85decode"sv, Encoding::kBase85},
                                                                            {"a85decode"sv, Encoding::kAscii85},
                                                                            {"b64decode"sv, Encoding::kBase64},
                                                                            {"decodebytes"sv, Encoding::kBase64}}};
  std::vector<Call> calls;
  for (const auto& [name, encoding] : kNames) {
    for (size_t at = source.find(name); at != kNone && calls.size() < limits::kPackedLiterals;
         at = source.find(name, at + 1)) {
      const size_t open = at + name.size();
      if (open < source.size() && source[open] == '(') calls.push_back({encoding, at, open + 1});
    }
  }
  std::sort(calls.begin(), calls.end(), [](const Call& a, const Call& b) { return a.at < b.at; });
  return calls;
}

bool is_source_text(std::string_view text) {
  if (text.empty() || looks_binary(text)) return false;
  for (const auto word : {"import "sv, "def "sv, "exec("sv, "print("sv, "#include"sv}) {
    if (text.find(word) != kNone) return true;
  }
  return false;
}

void unpack_into(std::string_view source, int depth, UnpackResult& out) {
  const StringReader strings(source);
  for (const Call& call : decode_calls(source)) {
    const auto packed = strings.expression(call.argument);
    if (!packed || packed->size() < kShortestPacked) continue;
    const int64_t line = 1 + std::count(source.begin(), source.begin() + static_cast<std::ptrdiff_t>(call.at), '\n');
    const auto bytes = decode(call.encoding, *packed);
    if (!bytes) {
      out.problems.push_back(fmt::format("line {}: a packed string does not decode", line));
      continue;
    }
    auto content = decompress(*bytes, limits::kUnpackedBytes);
    if (content && content->too_large) {
      out.problems.push_back(fmt::format("line {}: unpacks to more than {} bytes", line, limits::kUnpackedBytes));
      continue;
    }
    std::string text = decode_text(content ? std::move(content->bytes) : *bytes);
    if (!is_source_text(text)) {
      // Data (weights, tables) is packed likewise; only a string that is executed must be readable.
      if (!content && source.find("exec(") != kNone)
        out.problems.push_back(fmt::format("line {}: a packed string has an unknown compression", line));
      continue;
    }
    out.sources.push_back({text, line});
    if (depth < limits::kUnpackDepth) {
      unpack_into(text, depth + 1, out);
    } else if (!decode_calls(text).empty()) {
      out.problems.push_back(fmt::format("packed more than {} times", limits::kUnpackDepth));
    }
    if (out.sources.size() > limits::kPackedLiterals) return;
  }
}

}  // namespace

UnpackResult unpack_source(std::string_view source) {
  UnpackResult out;
  unpack_into(source, 1, out);
  return out;
}

std::optional<std::string> decompress_source(std::string_view bytes) {
  auto content = decompress(bytes, limits::kUnpackedBytes);
  if (!content || content->too_large) return std::nullopt;
  std::string text = decode_text(std::move(content->bytes));
  return is_source_text(text) ? std::optional(std::move(text)) : std::nullopt;
}

}  // namespace fairway::audit

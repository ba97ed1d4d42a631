#include "engine/base/canonical_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

namespace fairway {
namespace {

using nlohmann::json;

constexpr int64_t kMaxInteger = int64_t{1} << 53;

/// Text whose bytes compare as the UTF-16 code units of `key` do. UTF-8 sorts by code point, and the two orders differ
/// only in that U+E000...U+FFFF (first byte 0xee, 0xef) come after the surrogates that write what lies above them
/// (first byte 0xf0...0xf4).
std::string order_key(const std::string& key) {
  std::string turned = key;
  for (char& c : turned) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte >= 0xf0) c = static_cast<char>(byte - 2);
    if (byte == 0xee || byte == 0xef) c = static_cast<char>(byte + 0x0b);
  }
  return turned;
}

class Writer {
 public:
  explicit Writer(const std::string& where) : where_(where) {}

  Status write(const json& value, const std::string& at, int depth) {
    if (depth > kMaxJsonDepth) return bad(at, fmt::format("nested more than {} deep", kMaxJsonDepth));
    switch (value.type()) {
      case json::value_t::object:
        return write_object(value, at, depth);
      case json::value_t::array:
        text_ += '[';
        for (size_t i = 0; i < value.size(); ++i) {
          if (i != 0) text_ += ',';
          FAIRWAY_TRY(write(value[i], fmt::format("{}[{}]", at, i), depth + 1));
        }
        text_ += ']';
        return {};
      case json::value_t::string:
        return write_string(value, at);
      case json::value_t::boolean:
      case json::value_t::null:
        text_ += value.dump();
        return {};
      case json::value_t::number_unsigned:
      case json::value_t::number_integer: {
        const bool too_large = value.is_number_unsigned() ? value.get<uint64_t>() > uint64_t{kMaxInteger}
                                                          : value.get<int64_t>() < -kMaxInteger;
        if (too_large) return bad(at, "an integer beyond 2^53; write it as a decimal string");
        text_ += value.dump();
        return {};
      }
      default:
        return bad(at, "a floating-point number; write it as a hexadecimal string");
    }
  }

  std::string take() { return std::move(text_); }

 private:
  Status write_object(const json& value, const std::string& at, int depth) {
    std::vector<std::pair<std::string, const std::string*>> keys;
    for (const auto& item : value.items()) keys.emplace_back(order_key(item.key()), &item.key());
    std::sort(keys.begin(), keys.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    text_ += '{';
    for (size_t i = 0; i < keys.size(); ++i) {
      const std::string& key = *keys[i].second;
      const std::string inner = at.empty() ? key : at + "." + key;
      if (i != 0) text_ += ',';
      FAIRWAY_TRY(write_string(key, inner));
      text_ += ':';
      FAIRWAY_TRY(write(value.at(key), inner, depth + 1));
    }
    text_ += '}';
    return {};
  }

  Status write_string(const json& value, const std::string& at) {
    try {
      text_ += value.dump();  // escapes exactly what RFC 8785 does
    } catch (const json::type_error&) {
      return bad(at, "a string is not UTF-8");
    }
    return {};
  }

  Error bad(const std::string& at, std::string what) const {
    return Error{Errc::kData, at.empty() ? where_ : where_ + ": " + at, std::move(what)};
  }

  const std::string& where_;
  std::string text_;
};

}  // namespace

Result<std::string> canonical_json(const json& value, const std::string& where) {
  Writer writer(where);
  FAIRWAY_TRY(writer.write(value, "", 0));
  return writer.take();
}

Result<json> parse_json(std::string_view text, const std::string& where) {
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > kMaxJsonDepth) throw std::invalid_argument(fmt::format("nested more than {} deep", kMaxJsonDepth));
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second) {
      throw std::invalid_argument(fmt::format("the key {} occurs twice", parsed.dump(-1, ' ', true)));
    }
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), watch);
  } catch (const json::parse_error& e) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: what; last read: 'bytes of the input'". The
    // bytes are left out: they may hold anything, and the place says where they are.
    const std::string_view what = e.what();
    const size_t mark = what.find("] "), begin = mark == what.npos ? 0 : mark + 2,
                 end = std::min(what.find("; last read"), what.size());
    return Error{Errc::kData, where, fmt::format("no JSON: {}", what.substr(begin, end - begin))};
  } catch (const std::invalid_argument& e) {
    return Error{Errc::kData, where, e.what()};
  }
}

Result<json> parse_canonical_json(std::string_view text, const std::string& where) {
  FAIRWAY_ASSIGN(json value, parse_json(text, where));
  FAIRWAY_ASSIGN(const std::string canonical, canonical_json(value, where));
  if (canonical != text) {
    const auto [at, other] = std::mismatch(text.begin(), text.end(), canonical.begin(), canonical.end());
    return Error{Errc::kData, fmt::format("{} @ {:#x}", where, at - text.begin()),
                 "not canonical JSON (RFC 8785): white space, the order of keys, an escape or the form of a number"};
  }
  return value;
}

}  // namespace fairway

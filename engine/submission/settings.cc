#include "engine/submission/settings.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <sstream>

#include "engine/base/check.h"

namespace fairway::submission {
namespace {

std::optional<toml::table> parsed(const std::string& text) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error&) {
    return {};
  }
}

/// The parts of "table.key" or "table.inner.key"; none if it is no such path.
std::vector<std::string> parts_of(std::string_view key) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= key.size();) {
    const size_t end = std::min(key.find('.', at), key.size());
    const std::string_view part = key.substr(at, end - at);
    if (part.empty() || part.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string_view::npos) return {};
    parts.emplace_back(part);
    at = end + 1;
  }
  return parts.size() < 2 || parts.size() > 3 ? std::vector<std::string>() : parts;
}

}  // namespace

Result<Setting> parse_setting(const std::string& text) {
  const size_t equals = text.find('=');
  const std::string key = text.substr(0, equals);
  if (equals == std::string::npos || parts_of(key).empty() || equals + 1 == text.size()) {
    return Error{Errc::kUsage, text, "a setting is table.key=value, for instance model.xsa_last_n=11"};
  }
  std::string value = text.substr(equals + 1);
  const auto table = value.find('\n') == std::string::npos ? parsed("x = " + value) : std::nullopt;
  if (!table || table->size() != 1 || (*table)["x"].is_table()) {
    std::ostringstream quoted;
    quoted << toml::table{{"x", value}};
    value = quoted.str().substr(4);  // behind "x = "
  }
  return Setting{key, value};
}

Result<std::string> with_settings(std::string_view document, const std::string& path,
                                  const std::vector<Setting>& settings) {
  auto table = parsed(std::string(document));
  if (!table) return Error{Errc::kData, path, "not TOML"};
  for (const Setting& s : settings) {
    const std::vector<std::string> parts = parts_of(s.key);
    FAIRWAY_CHECK(!parts.empty());
    toml::table* inner = &*table;
    for (size_t i = 0; i + 1 < parts.size() && inner != nullptr; ++i) inner = inner->emplace<toml::table>(parts[i]).first->second.as_table();
    const std::string& key = parts.back();
    if (inner == nullptr || (*inner)[key].is_table())
      return Error{Errc::kData, fmt::format("{} {}", path, s.key), "a table cannot be set"};
    const auto value = parsed("x = " + s.value);
    if (!value)
      return Error{Errc::kData, fmt::format("{} {}", path, s.key), fmt::format("{} is not a TOML value", s.value)};
    value->at("x").visit([&](const auto& node) { inner->insert_or_assign(key, node); });
  }
  std::ostringstream out;
  out << *table << "\n";
  return out.str();
}

}  // namespace fairway::submission

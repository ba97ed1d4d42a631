#include "engine/submission/settings.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <sstream>

namespace fairway::submission {
namespace {

std::optional<toml::table> parsed(const std::string& text) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error&) {
    return {};
  }
}

bool is_key_part(std::string_view part) {
  return !part.empty() && part.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string_view::npos;
}

}  // namespace

Result<Setting> parse_setting(const std::string& text) {
  const size_t equals = text.find('=');
  const std::string key = text.substr(0, equals);
  const size_t dot = key.find('.');
  if (equals == std::string::npos || dot == std::string::npos || !is_key_part(key.substr(0, dot)) ||
      !is_key_part(key.substr(dot + 1)) || equals + 1 == text.size()) {
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
    const size_t dot = s.key.find('.');
    const std::string section = s.key.substr(0, dot), key = s.key.substr(dot + 1);
    auto [at, added] = table->emplace<toml::table>(section);
    toml::table* inner = at->second.as_table();
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

#include "engine/submission/toml_reader.h"

#include <fmt/format.h>

#include <set>
#include <toml++/toml.h>

namespace fairway::submission {

struct TomlDocument::State {
  toml::table table;
  std::string path;
  std::optional<Error> error;
};

struct TableReader::State {
  TomlDocument::State* document;
  const toml::table* table;  ///< null if the table is absent
  std::string prefix;        ///< "train."
  std::set<std::string, std::less<>> asked;
};

TableReader::TableReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
TableReader::TableReader(TableReader&&) noexcept = default;
TableReader::~TableReader() = default;
TomlDocument::TomlDocument(std::unique_ptr<State> state) : state_(std::move(state)) {}
TomlDocument::TomlDocument(TomlDocument&&) noexcept = default;
TomlDocument::~TomlDocument() = default;

namespace {

/// "fairway.toml:12 train.seq_len"
std::string place(const std::string& path, const toml::node* node, const std::string& key) {
  if (node == nullptr || !node->source().begin) return fmt::format("{} {}", path, key);
  return fmt::format("{}:{} {}", path, node->source().begin.line, key);
}

}  // namespace

Result<TomlDocument> TomlDocument::parse(std::string_view text, const std::string& path) {
  auto state = std::make_unique<State>();
  state->path = path;
  try {
    state->table = toml::parse(text);
  } catch (const toml::parse_error& e) {
    return Error{Errc::kData, fmt::format("{}:{}:{}", path, e.source().begin.line, e.source().begin.column),
                 std::string(e.description())};
  }
  return TomlDocument(std::move(state));
}

TableReader TomlDocument::root() {
  return TableReader(std::make_unique<TableReader::State>(TableReader::State{state_.get(), &state_->table, "", {}}));
}

void TableReader::fail(std::string_view key, std::string what) {
  TomlDocument::State& document = *state_->document;
  if (document.error) return;
  const toml::node* node = state_->table == nullptr ? nullptr : state_->table->get(key);
  if (node == nullptr) node = state_->table;  // a missing key is missing from the table that starts here
  document.error = Error{Errc::kData, place(document.path, node, state_->prefix + std::string(key)), std::move(what)};
}

bool TableReader::has(std::string_view key) const { return state_->table != nullptr && state_->table->contains(key); }

TableReader TableReader::table(std::string_view key, bool required) {
  state_->asked.emplace(key);
  const toml::node* node = state_->table == nullptr ? nullptr : state_->table->get(key);
  const toml::table* inner = node == nullptr ? nullptr : node->as_table();
  if (node != nullptr && inner == nullptr) fail(key, "must be a table");
  if (node == nullptr && required) fail(key, fmt::format("the table [{}{}] is missing", state_->prefix, key));
  return TableReader(std::make_unique<State>(State{state_->document, inner, state_->prefix + std::string(key) + ".", {}}));
}

int64_t TableReader::integer(std::string_view key, std::optional<int64_t> fallback, int64_t min, int64_t max) {
  state_->asked.emplace(key);
  if (!has(key)) {
    if (!fallback) fail(key, "this key is missing");
    return fallback.value_or(min);
  }
  auto value = state_->table->get(key)->value_exact<int64_t>();
  if (!value || *value < min || *value > max) {
    fail(key, fmt::format("must be an integer from {} to {}", min, max));
    return fallback.value_or(min);
  }
  return *value;
}

double TableReader::number(std::string_view key, std::optional<double> fallback, double min, double max) {
  state_->asked.emplace(key);
  if (!has(key)) {
    if (!fallback) fail(key, "this key is missing");
    return fallback.value_or(min);
  }
  const toml::node* node = state_->table->get(key);
  std::optional<double> value;
  if (node->is_floating_point() || node->is_integer()) value = node->value<double>();
  if (!value || !(*value >= min && *value <= max)) {
    fail(key, fmt::format("must be a number from {} to {}", min, max));
    return fallback.value_or(min);
  }
  return *value;
}

bool TableReader::boolean(std::string_view key, std::optional<bool> fallback) {
  state_->asked.emplace(key);
  if (!has(key)) {
    if (!fallback) fail(key, "this key is missing");
    return fallback.value_or(false);
  }
  auto value = state_->table->get(key)->value_exact<bool>();
  if (!value) fail(key, "must be true or false");
  return value.value_or(false);
}

std::string TableReader::text(std::string_view key, std::optional<std::string> fallback) {
  state_->asked.emplace(key);
  if (!has(key)) {
    if (!fallback) fail(key, "this key is missing");
    return fallback.value_or("");
  }
  auto value = state_->table->get(key)->value_exact<std::string>();
  if (!value) fail(key, "must be a string");
  return value.value_or("");
}

std::vector<int64_t> TableReader::integers(std::string_view key, int64_t min, int64_t max) {
  state_->asked.emplace(key);
  std::vector<int64_t> values;
  const toml::array* array = has(key) ? state_->table->get(key)->as_array() : nullptr;
  if (array == nullptr || array->empty()) {
    fail(key, "must be a list of integers with at least one entry");
    return values;
  }
  for (const toml::node& node : *array) {
    auto value = node.value_exact<int64_t>();
    if (!value || *value < min || *value > max) {
      fail(key, fmt::format("every entry must be an integer from {} to {}", min, max));
      return values;
    }
    values.push_back(*value);
  }
  return values;
}

std::vector<double> TableReader::numbers(std::string_view key, double min, double max) {
  state_->asked.emplace(key);
  std::vector<double> values;
  const toml::array* array = has(key) ? state_->table->get(key)->as_array() : nullptr;
  if (array != nullptr) {
    for (const toml::node& node : *array) {
      std::optional<double> value;
      if (node.is_floating_point() || node.is_integer()) value = node.value<double>();
      if (!value || !(*value >= min && *value <= max)) break;
      values.push_back(*value);
    }
  }
  if (array == nullptr || array->empty() || values.size() != array->size()) {
    fail(key, fmt::format("must be a list of numbers from {} to {} with at least one entry", min, max));
  }
  return values;
}

std::vector<std::string> TableReader::texts(std::string_view key) {
  state_->asked.emplace(key);
  std::vector<std::string> values;
  const toml::array* array = has(key) ? state_->table->get(key)->as_array() : nullptr;
  if (array != nullptr) {
    for (const toml::node& node : *array) {
      auto value = node.value_exact<std::string>();
      if (!value || value->empty()) break;
      values.push_back(std::move(*value));
    }
  }
  if (array == nullptr || array->empty() || values.size() != array->size()) {
    fail(key, "must be a list of strings with at least one entry");
  }
  return values;
}

int TableReader::choice(std::string_view key, std::optional<int> fallback, const std::vector<std::string>& choices) {
  std::optional<std::string> fallback_text;
  if (fallback) fallback_text = choices[static_cast<size_t>(*fallback)];
  const std::string value = text(key, fallback_text);
  for (size_t i = 0; i < choices.size(); ++i) {
    if (choices[i] == value) return static_cast<int>(i);
  }
  fail(key, fmt::format("\"{}\" is not one of: {}", value, fmt::join(choices, ", ")));
  return fallback.value_or(0);
}

Status TableReader::finish() {
  TomlDocument::State& document = *state_->document;
  if (!document.error && state_->table != nullptr) {
    for (const auto& [key, node] : *state_->table) {
      if (state_->asked.contains(std::string_view(key.str()))) continue;
      document.error = Error{Errc::kData, place(document.path, &node, state_->prefix + std::string(key.str())),
                             "unknown key; remove it or correct its spelling"};
      break;
    }
  }
  if (document.error) return *document.error;
  return {};
}

}  // namespace fairway::submission

/// Strict reading of TOML: every key that is there must be known, every required key must be there.
///
/// A TableReader remembers the first error and which keys were asked for; `finish` reports a key nobody asked for, with its
/// line. After an error the getters return their defaults, so a caller reads everything and checks once.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"

namespace fairway::submission {

class TomlDocument;

class TableReader {
 public:
  ~TableReader();
  TableReader(TableReader&&) noexcept;

  /// A sub-table; a missing one is an error if `required`, else reads as empty.
  TableReader table(std::string_view key, bool required = true);

  int64_t integer(std::string_view key, std::optional<int64_t> fallback, int64_t min, int64_t max);
  double number(std::string_view key, std::optional<double> fallback, double min, double max);
  bool boolean(std::string_view key, std::optional<bool> fallback);
  std::string text(std::string_view key, std::optional<std::string> fallback);
  /// A list with at least one entry.
  std::vector<int64_t> integers(std::string_view key, int64_t min, int64_t max);
  std::vector<double> numbers(std::string_view key, double min, double max);
  std::vector<std::string> texts(std::string_view key);
  /// Index of the text in `choices`.
  int choice(std::string_view key, std::optional<int> fallback, const std::vector<std::string>& choices);
  bool has(std::string_view key) const;

  /// Records an error at a key of this table ("fairway.toml:12 train.seq_len: ..."), unless one is recorded already.
  void fail(std::string_view key, std::string what);

  /// The first error of this document so far, or an unknown key of this table.
  Status finish();

  struct State;  ///< defined beside the implementation only

 private:
  friend class TomlDocument;
  explicit TableReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

/// A parsed document. Errors of the parser carry line and column.
class TomlDocument {
 public:
  static Result<TomlDocument> parse(std::string_view text, const std::string& path);
  TomlDocument(TomlDocument&&) noexcept;
  ~TomlDocument();
  TableReader root();

  struct State;  ///< defined beside the implementation only

 private:
  explicit TomlDocument(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace fairway::submission

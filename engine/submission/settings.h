/// A fairway.toml with some keys set to other values: how variants of a submission are made.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"

namespace fairway::submission {

/// One key and the TOML text of its value: model.xsa_last_n and 11, eval.ttt.epochs and 1.
struct Setting {
  std::string key, value;
  std::string text() const { return key + "=" + value; }
};

/// Parses "table.key=value" or "table.inner.key=value". The value is TOML; what is no TOML value is a string ("orthogonal"). Errors (kUsage) name
/// the text.
Result<Setting> parse_setting(const std::string& text);

/// The document with the settings applied in order, keys sorted, without comments. Whether the keys exist is for
/// load_submission to say. Errors (kData): the document is no TOML; a key that is a table.
Result<std::string> with_settings(std::string_view document, const std::string& path,
                                  const std::vector<Setting>& settings);

}  // namespace fairway::submission

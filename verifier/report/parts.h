/// What several formats say in the same words.
#pragma once

#include <fmt/format.h>

#include <string>

#include "verifier/report/report.h"

namespace fairway::verifier {

/// "claimed X, measured Y", each as `shown` writes it and "-" where there is none; empty if the check compares nothing.
template <class Shown>
std::string claimed_and_measured(const Check& check, Shown shown) {
  if (check.claimed.empty() && check.measured.empty()) return "";
  auto one = [&](const std::string& text) { return text.empty() ? std::string("-") : shown(text); };
  return fmt::format("claimed {}, measured {}", one(check.claimed), one(check.measured));
}

}  // namespace fairway::verifier

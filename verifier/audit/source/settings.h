/// The values of settings in the runs that a record reports: log before run command before the source's own default.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "verifier/audit/facts.h"

namespace fairway::audit::source {

struct Setting {
  std::string text;
  bool conflict = false;  ///< runs or commands disagree
  bool logged = false;    ///< printed by the runs, not only asked for by a command
  Place place;
};

class Settings {
 public:
  explicit Settings(const Facts& facts);
  /// By environment variable, attribute or option name; case and '-' or '_' do not matter.
  const Setting* find(std::string_view name) const;
  /// False if no log of a scored run is there: then a switch that is off by default may have been on.
  bool any_run() const { return any_run_; }

 private:
  void read_commands(const std::string& text, const std::string& file, bool everywhere);
  std::map<std::string, Setting, std::less<>> logged_values_, command_values_;
  bool any_run_ = false;
};

}  // namespace fairway::audit::source

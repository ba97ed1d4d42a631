/// The values of settings in the runs that a record reports: log before run command before the source's own default.
#pragma once

#include <map>
#include <optional>
#include <set>
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
  /// True if the title of the record (the first heading of its README, the name in its JSON) says what the switch turns
  /// on: "Two-Pass N-gram Cache" and NGRAM_ENABLED. A title that denies or compares anything says nothing.
  bool titled(std::string_view name) const;
  /// The value in "`NAME=value`" somewhere in the README's text, or null. It is no command: it may be the value of
  /// another run, or one that is warned of.
  const std::string* mentioned(std::string_view name) const;

 private:
  void read_mentions(std::string_view text);
  void read_commands(const std::string& text, const std::string& file, bool everywhere);
  std::map<std::string, Setting, std::less<>> logged_values_, command_values_;
  std::map<std::string, std::string, std::less<>> mentions_;
  std::set<std::string> title_;
  bool any_run_ = false;
};

}  // namespace fairway::audit::source

/// A progress line for a person at a terminal: label, k/n, rate, time left.
///
/// It goes to stderr, only where stderr is a terminal, at most five times a second, always on one line that is erased
/// at the end; stdout never sees it. Elsewhere every call costs one branch. The clock it reads enters no result.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fairway {

/// "tokenize 3/10  1.25 MB/s  0:42 left". Rates take k, M, G, T above 1,000; no time left is given when the rate is not
/// known yet (elapsed_seconds <= 0 or done == 0) or `total` is 0, which means "unknown".
std::string progress_line(std::string_view label, uint64_t done, uint64_t total, double elapsed_seconds,
                          std::string_view rate_unit, double units_per_item);

/// One long task. Use from one thread; at most one object should be alive at a time.
class Progress {
 public:
  /// `rate_unit` is the unit of the rate without "/s" ("tok", "B"); one counted item is `units_per_item` of them.
  /// `fd` is the descriptor written to: a test passes its own terminal.
  Progress(std::string label, uint64_t total, std::string rate_unit, double units_per_item = 1.0, int fd = 2);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  /// `done` items are finished. Draws if 0.2 s have passed since the last drawing.
  void update(uint64_t done);

  /// Erases the line, if one is drawn, until the next update: call before writing other text to the same terminal.
  void hide();

  /// hide() on the object that has a line drawn, if any; for a log that knows no Progress.
  static void hide_drawn();

 private:
  std::string label_;
  uint64_t total_;
  std::string rate_unit_;
  double units_per_item_;
  int fd_;
  bool on_terminal_;
  double start_seconds_;
  double last_drawn_seconds_ = -1.0;
};

}  // namespace fairway

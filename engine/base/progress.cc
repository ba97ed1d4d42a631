#include "engine/base/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>

namespace fairway {
namespace {

constexpr double kRedrawSeconds = 0.2;

// The object whose line stands on the terminal now; hide_drawn() reaches it from the log.
Progress* drawn = nullptr;

double monotonic_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string rate_text(double per_second, std::string_view unit) {
  static constexpr const char* kPrefixes[] = {"", "k", "M", "G", "T"};
  int prefix = 0;
  while (per_second >= 1000.0 && prefix < 4) {
    per_second /= 1000.0;
    ++prefix;
  }
  return fmt::format("{:.{}f} {}{}/s", per_second, per_second < 10.0 ? 2 : 1, kPrefixes[prefix], unit);
}

std::string duration_text(double seconds) {
  // Longer than 99 hours says nothing more, and the bound keeps the conversion to an integer in range.
  const auto whole = static_cast<uint64_t>(seconds < 356400.0 ? seconds : 356400.0);
  if (whole < 3600) return fmt::format("{}:{:02}", whole / 60, whole % 60);
  return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
}

// Progress is an ornament: a terminal that went away must not stop the work, so the result of write is not used.
void put(int fd, std::string_view text) {
  const ssize_t written = ::write(fd, text.data(), text.size());
  static_cast<void>(written);
}

}  // namespace

std::string progress_line(std::string_view label, uint64_t done, uint64_t total, double elapsed_seconds,
                          std::string_view rate_unit, double units_per_item) {
  std::string line = total == 0 ? fmt::format("{} {}", label, done) : fmt::format("{} {}/{}", label, done, total);
  if (done == 0 || !(elapsed_seconds > 0.0)) return line;
  const double items_per_second = static_cast<double>(done) / elapsed_seconds;
  line += "  " + rate_text(items_per_second * units_per_item, rate_unit);
  if (total >= done && total > 0) {
    line += "  " + duration_text(static_cast<double>(total - done) / items_per_second) + " left";
  }
  return line;
}

Progress::Progress(std::string label, uint64_t total, std::string rate_unit, double units_per_item, int fd)
    : label_(std::move(label)),
      total_(total),
      rate_unit_(std::move(rate_unit)),
      units_per_item_(units_per_item),
      fd_(fd),
      on_terminal_(::isatty(fd) == 1),
      start_seconds_(monotonic_seconds()) {}

Progress::~Progress() { hide(); }

void Progress::update(uint64_t done) {
  if (!on_terminal_) return;
  const double now = monotonic_seconds();
  if (last_drawn_seconds_ >= 0.0 && now - last_drawn_seconds_ < kRedrawSeconds) return;
  last_drawn_seconds_ = now;
  std::string line = progress_line(label_, done, total_, now - start_seconds_, rate_unit_, units_per_item_);
  // A line that wraps could not be erased by a carriage return, so it is cut to the window.
  winsize window{};
  if (::ioctl(fd_, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 && line.size() >= window.ws_col) {
    line.resize(window.ws_col - 1u);
  }
  put(fd_, "\r\x1b[K" + line);
  drawn = this;
}

void Progress::hide() {
  if (drawn != this) return;
  put(fd_, "\r\x1b[K");
  drawn = nullptr;
}

void Progress::hide_drawn() {
  if (drawn != nullptr) drawn->hide();
}

}  // namespace fairway

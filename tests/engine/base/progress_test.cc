#include "engine/base/progress.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

namespace fairway {
namespace {

// A real terminal: what is written to `terminal` comes out of `reader`.
class Terminal {
 public:
  explicit Terminal(unsigned short columns) {
    winsize window{};
    window.ws_row = 24;
    window.ws_col = columns;
    opened = ::openpty(&reader, &terminal, nullptr, nullptr, &window) == 0;
    if (opened) ::fcntl(reader, F_SETFL, O_NONBLOCK);
  }
  ~Terminal() {
    if (!opened) return;
    ::close(reader);
    ::close(terminal);
  }
  std::string output() const {
    std::string text;
    char buffer[4096];
    for (ssize_t count; (count = ::read(reader, buffer, sizeof buffer)) > 0;) {
      text.append(buffer, static_cast<size_t>(count));
    }
    return text;
  }
  int reader = -1;
  int terminal = -1;
  bool opened = false;
};

TEST(ProgressLine, NamesCountsRateAndTimeLeft) {
  EXPECT_EQ(progress_line("train", 25, 100, 50.0, "tok", 524288.0), "train 25/100  262.1 ktok/s  2:30 left");
  EXPECT_EQ(progress_line("eval", 1, 7201, 1.0, "row", 1.0), "eval 1/7201  1.00 row/s  2:00:00 left");
  EXPECT_EQ(progress_line("read", 3'500'000, 0, 1.0, "B", 1.0), "read 3500000  3.50 MB/s");
}

TEST(ProgressLine, SaysNothingItDoesNotKnow) {
  EXPECT_EQ(progress_line("x", 0, 10, 5.0, "B", 1.0), "x 0/10");
  EXPECT_EQ(progress_line("x", 5, 10, 0.0, "B", 1.0), "x 5/10");
  EXPECT_EQ(progress_line("x", 12, 10, 1.0, "B", 1.0), "x 12/10  12.0 B/s");
}

TEST(ProgressLine, AHopelessEstimateStaysPrintable) {
  EXPECT_EQ(progress_line("x", 1, UINT64_MAX, 1e9, "B", 1.0).substr(0, 24), "x 1/18446744073709551615");
  EXPECT_NE(progress_line("x", 1, UINT64_MAX, 1e9, "B", 1.0).find("99:00:00 left"), std::string::npos);
}

TEST(Progress, DrawsAtMostFiveTimesASecondAndErasesItself) {
  const Terminal terminal(80);
  if (!terminal.opened) GTEST_SKIP() << "no pseudo-terminal on this machine";
  const auto start = std::chrono::steady_clock::now();
  auto elapsed = [&] { return std::chrono::steady_clock::now() - start; };
  {
    Progress progress("work", 1000000, "B", 1.0, terminal.terminal);
    uint64_t done = 0;
    do {
      progress.update(++done);
    } while (elapsed() < std::chrono::milliseconds(450));
    progress.update(++done);  // a machine that slept through the loop owes the second line here
  }
  // However long a busy machine took for it.
  const auto most = static_cast<size_t>(elapsed() / std::chrono::milliseconds(200)) + 1;
  const std::string output = terminal.output();
  size_t lines = 0;
  for (size_t at = output.find("work "); at != std::string::npos; at = output.find("work ", at + 1)) ++lines;
  EXPECT_GE(lines, 2u);
  EXPECT_LE(lines, most) << output;
  EXPECT_TRUE(output.ends_with("\r\x1b[K")) << "the line is still there";
  EXPECT_EQ(output.find('\n'), std::string::npos);
}

TEST(Progress, ALogCanEraseALineItDoesNotKnow) {
  const Terminal terminal(80);
  if (!terminal.opened) GTEST_SKIP() << "no pseudo-terminal on this machine";
  Progress progress("work", 10, "B", 1.0, terminal.terminal);
  progress.update(1);
  EXPECT_FALSE(terminal.output().ends_with("\r\x1b[K"));
  Progress::hide_drawn();
  EXPECT_EQ(terminal.output(), "\r\x1b[K");
  Progress::hide_drawn();
  EXPECT_EQ(terminal.output(), "") << "erased twice";
}

TEST(Progress, NeverWrapsANarrowWindow) {
  const Terminal terminal(20);
  if (!terminal.opened) GTEST_SKIP() << "no pseudo-terminal on this machine";
  Progress progress("a label longer than the window", 10, "B", 1.0, terminal.terminal);
  progress.update(1);
  EXPECT_EQ(terminal.output(), "\r\x1b[Ka label longer than");
}

TEST(Progress, WritesNothingWhereNobodyWatches) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_NONBLOCK), 0);
  {
    Progress progress("work", 10, "B", 1.0, ends[1]);
    progress.update(1);
    progress.update(10);
  }
  char byte;
  EXPECT_EQ(::read(ends[0], &byte, 1), -1) << "something was written to a pipe";
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace fairway

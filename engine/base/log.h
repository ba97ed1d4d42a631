/// The log of a run: plain lines in a file and, if asked for, on stdout. No timestamps, so equal runs give equal logs.
#pragma once

#include <string>
#include <string_view>

#include "engine/base/file.h"
#include "engine/base/result.h"

namespace fairway {

class RunLog {
 public:
  enum class Existing { kReplace, kAppend };  ///< what to do with a file that is there; a resumed run appends
  enum class Echo { kNo, kStdout };

  /// Creates or opens `path`; Error kIo if that is impossible.
  static Result<RunLog> open(const std::string& path, Existing existing, Echo echo,
                             FileSystem& system = FileSystem::real());
  RunLog(RunLog&& other) noexcept;
  RunLog& operator=(RunLog&&) = delete;
  ~RunLog();

  /// Writes `text` and one newline, handed to the operating system before this returns: a crash of the process loses no
  /// line. Echoed text goes the same way, after a progress line has been erased. `text` should hold no newline.
  Status line(std::string_view text);

 private:
  RunLog(std::string path, int fd, Echo echo, FileSystem& system)
      : path_(std::move(path)), fd_(fd), echo_(echo), system_(&system) {}
  std::string path_;
  int fd_;
  Echo echo_;
  FileSystem* system_;
};

}  // namespace fairway

/// A child process that is not trusted, and the folder it works in.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "verifier/probe/program.h"

namespace fairway::verifier {

using Clock = std::chrono::steady_clock;

/// A child process with its ends of the pipes.
struct Child {
  pid_t pid = -1;
  int input = -1, output = -1;  ///< ours: to write to it, to read from it
};

/// The folder of a run. While the program runs it has the same name for all runs, since the sandbox's table of mounts
/// shows it; afterwards it gets a name of its own.
class RunFolder {
 public:
  RunFolder(const std::string& work_dir, const std::string& name);
  /// Makes it anew. Whatever an earlier run left there, or under the later name, is gone before the next can see it; a
  /// link is removed, not followed.
  Status open();
  const std::filesystem::path& path() const { return path_; }
  /// Gives it its own name, kept().
  Status keep();
  const std::filesystem::path& kept() const { return kept_; }

 private:
  std::filesystem::path path_, kept_;
};

/// The run's folder as the program sees it: the same place for every run.
std::filesystem::path seen_from_inside(const ProgramOptions& o, const std::filesystem::path& folder);

/// Starts the program with its standard error in folder/stderr.txt. Error kIo if the system refuses.
Result<Child> start(const ProgramOptions& o, const std::vector<std::string>& command,
                    const std::filesystem::path& folder, const std::vector<std::string>& extra_environment);

/// Reads what there is, at most `size` bytes; 0 at the end, -1 once the deadline has passed or on Ctrl-C.
ssize_t read_some(int fd, void* data, size_t size, Clock::time_point deadline);

/// Waits until the deadline, or `at_once` not at all, ends what is left of the child's process group, and returns how
/// it ended: "" if by itself with 0, else a verb phrase. Error kInterrupted on Ctrl-C.
Result<std::string> finish(Child& child, Clock::time_point deadline, bool at_once);

}  // namespace fairway::verifier

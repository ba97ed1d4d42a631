#include "engine/base/log.h"

#include <fcntl.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "engine/base/progress.h"

namespace fairway {

Result<RunLog> RunLog::open(const std::string& path, Existing existing, Echo echo, FileSystem& system) {
  const int disposition = existing == Existing::kAppend ? O_APPEND : O_TRUNC;
  const int fd = system.open(path, O_WRONLY | O_CREAT | O_CLOEXEC | disposition, 0666);
  if (fd < 0) return io_error(path, "open the log", errno);
  return RunLog(path, fd, echo, system);
}

RunLog::RunLog(RunLog&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), echo_(other.echo_), system_(other.system_) {}

RunLog::~RunLog() {
  if (fd_ >= 0) system_->close(fd_);
}

Status RunLog::line(std::string_view text) {
  std::string bytes(text);
  bytes += '\n';
  if (!system_->write_all(fd_, std::as_bytes(std::span(bytes)))) return io_error(path_, "write", errno);
  if (echo_ == Echo::kNo) return {};
  Progress::hide_drawn();
  if (std::fwrite(bytes.data(), 1, bytes.size(), stdout) != bytes.size() || std::fflush(stdout) != 0) {
    return io_error("stdout", "write", errno);
  }
  return {};
}

}  // namespace fairway

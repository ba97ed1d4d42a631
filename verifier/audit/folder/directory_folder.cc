#include "verifier/audit/folder/directory_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "verifier/audit/limits.h"

namespace fairway::audit {
namespace {

class Handle {
 public:
  explicit Handle(int fd) : fd_(fd) {}
  Handle(Handle&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Handle() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

class DirectoryFolder final : public RecordFolder {
 public:
  DirectoryFolder(std::string path, Handle root) : path_(std::move(path)), root_(std::move(root)) {}

  Status list() {
    FAIRWAY_TRY(list_below(dup(root_.get()), "", 0));
    std::sort(files_.begin(), files_.end(), [](const FileEntry& a, const FileEntry& b) { return a.path < b.path; });
    return {};
  }

  const std::vector<FileEntry>& files() const override { return files_; }
  std::string path() const override { return path_; }

  Result<std::string> read(const FileEntry& entry) const override {
    const std::string where = path_ + "/" + entry.path;
    if (entry.state != FileState::kPresent) return Error{Errc::kData, where, "has no content to read"};
    Handle at(dup(root_.get()));
    size_t from = 0;
    for (size_t slash; (slash = entry.path.find('/', from)) != std::string::npos; from = slash + 1) {
      Handle next(openat(at.get(), entry.path.substr(from, slash - from).c_str(),
                         O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (next.get() < 0) return io(where);
      at = std::move(next);
    }
    // O_NONBLOCK: a pipe put in place of a file must not stop the audit.
    Handle file(openat(at.get(), entry.path.substr(from).c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat st;
    if (file.get() < 0 || fstat(file.get(), &st) != 0) return io(where);
    if (!S_ISREG(st.st_mode)) return Error{Errc::kData, where, "is no longer a regular file"};
    std::string out;
    out.resize(static_cast<size_t>(std::min<int64_t>(st.st_size, limits::kTextFileBytes)));
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t n = ::read(file.get(), out.data() + done, out.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return io(where);
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    out.resize(done);
    return out;
  }

 private:
  static Error io(const std::string& where) {
    return {Errc::kIo, where, fmt::format("cannot read ({})", std::strerror(errno))};
  }

  Status list_below(int fd, const std::string& prefix, int depth) {
    DIR* dir = fd < 0 ? nullptr : fdopendir(fd);
    if (dir == nullptr) {
      if (fd >= 0) close(fd);
      return io(path_ + "/" + prefix);
    }
    Status status;
    while (const dirent* entry = readdir(dir)) {
      const std::string name = entry->d_name;
      if (name == "." || name == ".." || name == ".git") continue;
      if (status = list_one(dirfd(dir), prefix, name, depth); !status) break;
    }
    closedir(dir);
    return status;
  }

  Status list_one(int dir, const std::string& prefix, const std::string& name, int depth) {
    struct stat st;
    if (fstatat(dir, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) return {};  // gone meanwhile
    FileEntry file{prefix + name, st.st_size, FileState::kPresent};
    if (S_ISDIR(st.st_mode)) {
      if (depth >= limits::kFolderDepth)
        return Error{Errc::kData, path_ + "/" + file.path,
                     fmt::format("is nested deeper than {} folders", limits::kFolderDepth)};
      const int below = openat(dir, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
      return list_below(below, file.path + "/", depth + 1);
    }
    if (!S_ISREG(st.st_mode)) file.state = FileState::kLink;  // links, sockets, devices: named, never opened
    if (file.state == FileState::kPresent && file.size_bytes > limits::kTextFileBytes)
      file.state = FileState::kTooLarge;
    if (static_cast<int64_t>(files_.size()) >= limits::kFilesPerFolder) {
      return Error{Errc::kData, path_,
                   fmt::format("holds more than {} files; name the record folder itself", limits::kFilesPerFolder)};
    }
    files_.push_back(std::move(file));
    return {};
  }

  std::string path_;
  Handle root_;
  std::vector<FileEntry> files_;
};

}  // namespace

Result<std::unique_ptr<RecordFolder>> open_directory(const std::string& path) {
  Handle root(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (root.get() < 0) {
    return Error{Errc::kNoInput, path, fmt::format("is not a folder that can be opened ({})", std::strerror(errno))};
  }
  auto folder = std::make_unique<DirectoryFolder>(path, std::move(root));
  FAIRWAY_TRY(folder->list());
  return std::unique_ptr<RecordFolder>(std::move(folder));
}

}  // namespace fairway::audit

#include "engine/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "engine/base/check.h"

namespace fairway {

int FileSystem::open(const std::string& path, int flags, mode_t mode) { return ::open(path.c_str(), flags, mode); }
ssize_t FileSystem::read(int fd, void* data, size_t size_bytes) { return ::read(fd, data, size_bytes); }
ssize_t FileSystem::write(int fd, const void* data, size_t size_bytes) { return ::write(fd, data, size_bytes); }
ssize_t FileSystem::pwrite(int fd, const void* data, size_t size_bytes, int64_t offset) {
  return ::pwrite(fd, data, size_bytes, offset);
}
int FileSystem::fsync(int fd) { return ::fsync(fd); }
int FileSystem::close(int fd) { return ::close(fd); }
int FileSystem::rename(const std::string& from, const std::string& to) { return std::rename(from.c_str(), to.c_str()); }
int FileSystem::unlink(const std::string& path) { return ::unlink(path.c_str()); }
int FileSystem::mkdir(const std::string& path, mode_t mode) { return ::mkdir(path.c_str(), mode); }

bool FileSystem::write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) errno = EIO;
    if (count <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(count));
  }
  return true;
}

FileSystem& FileSystem::real() {
  static FileSystem system;
  return system;
}

Error io_error(const std::string& path, std::string_view action, int error_number) {
  std::string what = "cannot " + std::string(action) + " (" + std::generic_category().message(error_number) + ")";
  if (error_number == ENOSPC || error_number == EDQUOT) what += "; free some space and run again";
  return Error{Errc::kIo, path, std::move(what)};
}

std::string parent_directory(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

namespace {

Error not_openable(const std::string& path, int error_number) {
  Error error = io_error(path, "open for reading", error_number);
  error.code = Errc::kNoInput;
  return error;
}

Error not_a_file(const std::string& path) { return Error{Errc::kData, path, "is a folder; name a file"}; }

}  // namespace

Result<InputFile> InputFile::open(const std::string& path, FileSystem& system) {
  int fd;
  do {
    fd = system.open(path, O_RDONLY | O_CLOEXEC, 0);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return not_openable(path, errno);
  return InputFile(path, fd, system);
}

InputFile::InputFile(InputFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), system_(other.system_) {}

InputFile::~InputFile() {
  if (fd_ >= 0) system_->close(fd_);
}

Result<size_t> InputFile::read(std::span<std::byte> out) {
  size_t filled = 0;
  while (filled < out.size()) {
    const ssize_t count = system_->read(fd_, out.data() + filled, out.size() - filled);
    if (count == 0) break;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EISDIR) return not_a_file(path_);
    if (count < 0) return io_error(path_, "read", errno);
    filled += static_cast<size_t>(count);
  }
  return filled;
}

Result<std::vector<std::byte>> read_file(const std::string& path, uint64_t max_bytes, FileSystem& system) {
  FAIRWAY_ASSIGN(InputFile file, InputFile::open(path, system));
  // The buffer grows with what is really there: neither `max_bytes` nor a size somebody claims is allocated ahead. One
  // byte beyond the bound is asked for, to tell a file of exactly that size from a larger one.
  constexpr uint64_t kPiece = uint64_t{1} << 20;
  std::vector<std::byte> bytes;
  for (;;) {
    const size_t old_size = bytes.size();
    const uint64_t left = max_bytes - old_size;
    const uint64_t want = left >= kPiece ? kPiece : left + 1;
    bytes.resize(old_size + static_cast<size_t>(want));
    FAIRWAY_ASSIGN(const size_t count, file.read(std::span(bytes).subspan(old_size)));
    bytes.resize(old_size + count);
    if (bytes.size() > max_bytes) {
      return Error{Errc::kData, path, "is larger than the " + std::to_string(max_bytes) + " bytes allowed here"};
    }
    if (count < want) return bytes;
  }
}

Status write_file_atomic(const std::string& path, std::span<const std::byte> bytes, FileSystem& system) {
  FAIRWAY_ASSIGN(AtomicFile file, AtomicFile::create(path, system));
  FAIRWAY_TRY(file.write(bytes));
  return file.commit();
}

Status write_file_atomic(const std::string& path, std::string_view text, FileSystem& system) {
  return write_file_atomic(path, std::as_bytes(std::span(text)), system);
}

AtomicFile::AtomicFile(std::string path, std::string temporary, int fd, FileSystem& system)
    : path_(std::move(path)), temporary_(std::move(temporary)), fd_(fd), system_(&system) {}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::exchange(other.temporary_, std::string())),
      fd_(std::exchange(other.fd_, -1)),
      system_(other.system_),
      size_bytes_(other.size_bytes_) {}

AtomicFile::~AtomicFile() { discard(); }

Result<AtomicFile> AtomicFile::create(const std::string& path, FileSystem& system) {
  static std::atomic<uint64_t> counter{0};
  for (;;) {
    std::string temporary = path + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
    const int fd = system.open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0) return AtomicFile(path, std::move(temporary), fd, system);
    // A name left by a killed process that had our number: take the next one.
    if (errno != EEXIST && errno != EINTR) return io_error(path, "create", errno);
  }
}

void AtomicFile::discard() {
  if (fd_ >= 0) system_->close(std::exchange(fd_, -1));
  if (!temporary_.empty()) system_->unlink(temporary_);
  temporary_.clear();
}

Error AtomicFile::failed(std::string_view action) {
  const int error_number = errno;
  discard();
  return io_error(path_, action, error_number);
}

Status AtomicFile::write(std::span<const std::byte> bytes) {
  FAIRWAY_CHECK(fd_ >= 0);
  if (!system_->write_all(fd_, bytes)) return failed("write");
  size_bytes_ += bytes.size();
  return {};
}

Status AtomicFile::overwrite(int64_t offset, std::span<const std::byte> bytes) {
  FAIRWAY_CHECK(fd_ >= 0);
  FAIRWAY_CHECK(offset >= 0 && static_cast<uint64_t>(offset) + bytes.size() <= size_bytes_);
  while (!bytes.empty()) {
    const ssize_t count = system_->pwrite(fd_, bytes.data(), bytes.size(), offset);
    if (count < 0 && errno == EINTR) continue;
    if (count == 0) errno = EIO;
    if (count <= 0) return failed("write");
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += count;
  }
  return {};
}

Status AtomicFile::commit() {
  FAIRWAY_CHECK(fd_ >= 0);
  if (system_->fsync(fd_) != 0) return failed("fsync");
  // Linux closes the descriptor even when close fails, so it is never closed twice.
  if (system_->close(std::exchange(fd_, -1)) != 0) return failed("close");
  if (system_->rename(temporary_, path_) != 0) return failed("rename the finished file into place");
  temporary_.clear();
  return sync_directory(parent_directory(path_), *system_);
}

Result<MappedFile> MappedFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return not_openable(path, errno);
  struct stat status {};
  if (::fstat(fd, &status) != 0) {
    const int error_number = errno;
    ::close(fd);
    return io_error(path, "stat", error_number);
  }
  if (!S_ISREG(status.st_mode)) {
    ::close(fd);
    if (S_ISDIR(status.st_mode)) return not_a_file(path);
    return Error{Errc::kData, path, "is not a regular file and cannot be mapped"};
  }
  const size_t size_bytes = static_cast<size_t>(status.st_size);
  if (size_bytes == 0) {
    ::close(fd);
    return MappedFile(nullptr, 0);
  }
  void* const data = ::mmap(nullptr, size_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
  const int error_number = errno;
  ::close(fd);
  if (data == MAP_FAILED) return io_error(path, "map", error_number);
  return MappedFile(static_cast<const std::byte*>(data), size_bytes);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_bytes_(std::exchange(other.size_bytes_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_bytes_);
}

Status make_directories(const std::string& path, FileSystem& system) {
  // A path ends in no slash from here on, so that its parent is the folder above it.
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.pop_back();
  if (trimmed.empty()) return Error{Errc::kUsage, "", "the name of a folder to create is empty"};
  if (system.mkdir(trimmed, 0777) == 0) return sync_directory(parent_directory(trimmed), system);
  if (errno == ENOENT) {
    const std::string parent = parent_directory(trimmed);
    if (parent == trimmed) return io_error(path, "create the folder", ENOENT);
    FAIRWAY_TRY(make_directories(parent, system));
    if (system.mkdir(trimmed, 0777) == 0) return sync_directory(parent, system);
  }
  const int error_number = errno;
  struct stat status {};
  if (error_number == EEXIST && ::stat(trimmed.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return {};
  return io_error(path, "create the folder", error_number);
}

Status sync_directory(const std::string& path, FileSystem& system) {
  const int fd = system.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  if (fd < 0) return io_error(path, "open the folder", errno);
  const int result = system.fsync(fd);
  const int error_number = errno;
  system.close(fd);
  if (result != 0) return io_error(path, "fsync the folder", error_number);
  return {};
}

}  // namespace fairway

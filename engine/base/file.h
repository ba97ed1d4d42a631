/// Files: whole reads with a bound, atomic writes, read-only mappings.
///
/// Goal: a path either holds its old content or its complete new content, whatever fails and whenever the process dies.
/// Every system call that changes a disk goes through FileSystem, so a test can put a fault into any one of them.
/// Non-goals: locking between processes, and reading files that somebody shortens meanwhile.
///
/// Errors: kNoInput when a file to read cannot be opened; kData when it is larger than the caller's bound or not a
/// file; kIo, with the path and the operating system's words, for everything else.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"

namespace fairway {

/// The system calls of the same names: on failure they return -1 and set errno. Tests override one at a time.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual int open(const std::string& path, int flags, mode_t mode);
  virtual ssize_t read(int fd, void* data, size_t size_bytes);
  virtual ssize_t write(int fd, const void* data, size_t size_bytes);
  virtual ssize_t pwrite(int fd, const void* data, size_t size_bytes, int64_t offset);
  virtual int fsync(int fd);
  virtual int close(int fd);
  virtual int rename(const std::string& from, const std::string& to);
  virtual int unlink(const std::string& path);
  virtual int mkdir(const std::string& path, mode_t mode);

  /// Repeats write() until every byte is out. False, with errno set, at the first failure.
  bool write_all(int fd, std::span<const std::byte> bytes);

  /// The operating system itself.
  static FileSystem& real();
};

/// Error kIo for `path` with the text of `error_number`: "cannot write (No space left on device); ...".
Error io_error(const std::string& path, std::string_view action, int error_number);

/// The folder that holds `path`: "a/b" gives "a", "b" gives ".", "/b" gives "/".
std::string parent_directory(const std::string& path);

/// A file being read from front to back.
class InputFile {
 public:
  static Result<InputFile> open(const std::string& path, FileSystem& system = FileSystem::real());
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&&) = delete;
  ~InputFile();

  /// Fills `out` as far as the file goes; fewer bytes than asked for means the end, 0 that nothing was left.
  Result<size_t> read(std::span<std::byte> out);

 private:
  InputFile(std::string path, int fd, FileSystem& system) : path_(std::move(path)), fd_(fd), system_(&system) {}
  std::string path_;
  int fd_;
  FileSystem* system_;
};

/// The whole content. A file of more than `max_bytes` is an Error kData and is not read further than that.
Result<std::vector<std::byte>> read_file(const std::string& path, uint64_t max_bytes,
                                         FileSystem& system = FileSystem::real());

/// Writes a temporary in the same folder, then: fsync, rename over `path`, fsync of the folder.
///
/// On any error the temporary is removed; up to the rename `path` is untouched. If only the last fsync fails, `path`
/// holds the new content but may not survive a power loss; this is reported as an error too. An fsync is never retried.
Status write_file_atomic(const std::string& path, std::span<const std::byte> bytes,
                         FileSystem& system = FileSystem::real());
Status write_file_atomic(const std::string& path, std::string_view text, FileSystem& system = FileSystem::real());

/// The same in pieces, for files that should not be held in memory.
///
/// Nothing appears at `path` before commit() has succeeded; the destructor removes a temporary that was not committed.
/// A process that is killed leaves a file `path` + ".tmp-<pid>-<n>", which nothing reads and anyone may delete.
class AtomicFile {
 public:
  static Result<AtomicFile> create(const std::string& path, FileSystem& system = FileSystem::real());
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  /// Appends. After an error the temporary is gone and the object may only be destroyed.
  Status write(std::span<const std::byte> bytes);

  /// Replaces bytes already written, e.g. a header that needs a count known only at the end.
  Status overwrite(int64_t offset, std::span<const std::byte> bytes);

  /// The last call, once; see write_file_atomic for its steps.
  Status commit();

  /// Bytes appended so far.
  uint64_t size_bytes() const { return size_bytes_; }

 private:
  AtomicFile(std::string path, std::string temporary, int fd, FileSystem& system);
  void discard();
  Error failed(std::string_view action);

  std::string path_;
  std::string temporary_;  // empty once committed or discarded
  int fd_;                 // -1 once closed
  FileSystem* system_;
  uint64_t size_bytes_ = 0;
};

/// A whole file mapped read-only. The file must not be shortened while it is mapped (the kernel answers with SIGBUS).
class MappedFile {
 public:
  static Result<MappedFile> open(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  /// Page-aligned; empty for an empty file; valid as long as this object.
  std::span<const std::byte> bytes() const { return {data_, size_bytes_}; }

 private:
  MappedFile(const std::byte* data, size_t size_bytes) : data_(data), size_bytes_(size_bytes) {}
  const std::byte* data_;
  size_t size_bytes_;
};

/// Creates `path` and the folders above it where missing, each one made durable in its parent. An existing folder is
/// fine.
Status make_directories(const std::string& path, FileSystem& system = FileSystem::real());

/// fsync of a folder: makes the names created, renamed or removed in it survive a power loss.
Status sync_directory(const std::string& path, FileSystem& system = FileSystem::real());

}  // namespace fairway

/// What the tests of the ledger share: keys, trees in memory, logs in temporary folders, and system calls that fail.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <string>
#include <vector>

#include "ledger/fsck.h"
#include "ledger/log.h"
#include "ledger/store.h"
#include "tests/engine/base/temporary_directory.h"

namespace fairway::ledger::test {

using fairway::test::slurp;
using fairway::test::spill;
using fairway::test::TemporaryDirectory;

inline const std::string kOrigin = "example.com/fairway-test";

template <class T>
std::string message(const T& result) {
  return result ? "no error" : result.error().message();
}

inline PrivateKey test_key(uint8_t number = 1) {
  std::array<uint8_t, 32> seed{};
  seed[0] = number;
  return PrivateKey::from_seed(seed);
}

inline VerifierKey test_vkey(uint8_t number = 1) {
  return make_verifier_key(kOrigin, SignatureType::kEd25519, test_key(number).public_key());
}

inline std::string test_entry(uint64_t i) { return "entry " + std::to_string(i); }

/// Complete nodes from leaf hashes, by definition.
class MemoryTree : public NodeSource {
 public:
  explicit MemoryTree(std::vector<Digest> leaves) : leaves_(std::move(leaves)) {}
  Result<Digest> node(unsigned level, uint64_t index) override {
    auto [found, is_new] = known_.try_emplace({level, index});
    if (is_new) found->second = merkle_root(std::span(leaves_).subspan(index << level, size_t{1} << level));
    return found->second;
  }
  std::span<const Digest> leaves() const { return leaves_; }

 private:
  std::vector<Digest> leaves_;
  std::map<std::pair<unsigned, uint64_t>, Digest> known_;
};

inline std::vector<Digest> test_leaves(uint64_t count) {
  std::vector<Digest> leaves;
  for (uint64_t i = 0; i < count; ++i) leaves.push_back(leaf_hash(test_entry(i)));
  return leaves;
}

/// A log in a folder of its own, its key's memory beside it.
struct LogFolder {
  TemporaryDirectory root;
  LogPaths paths{root / "log", root / "last-signed"};
  PrivateKey key = test_key();

  void create() {
    const Status status = Log::create(paths, kOrigin, key);
    ASSERT_TRUE(status) << message(status);
  }

  /// Appends test_entry(size), ... in batches of the given sizes.
  void append(const std::vector<size_t>& batches) {
    auto log = Log::open(paths, key);
    ASSERT_TRUE(log) << message(log);
    for (const size_t batch : batches) {
      std::vector<std::string> entries;
      const uint64_t first = log->checkpoint().head.size;
      for (size_t i = 0; i < batch; ++i) entries.push_back(test_entry(first + i));
      const auto index = log->append(entries);
      ASSERT_TRUE(index) << message(index);
      ASSERT_EQ(*index, first);
    }
  }

  FsckReport check(const FsckOptions& options = {}) {
    auto report = fsck(paths.directory, policy_of(test_vkey()), options);
    EXPECT_TRUE(report) << message(report);
    return report ? *report : FsckReport{};
  }

  /// fsck passes, and the log holds exactly test_entry(0), ..., test_entry(size - 1).
  void expect_sound(uint64_t size) {
    FsckOptions options;
    options.check_entry = [](uint64_t index, std::string_view entry) -> Status {
      if (entry == test_entry(index)) return {};
      return Error{Errc::kData, "", "another entry: " + std::string(entry)};
    };
    const FsckReport report = check(options);
    EXPECT_FALSE(report.finding) << report.finding->where << ": " << report.finding->what;
    EXPECT_EQ(report.head.size, size);
    EXPECT_EQ(report.checked, size);
  }

  std::string file(const std::string& name) const { return paths.directory + "/" + name; }
};

/// Every system call that touches the disk is counted; one of them goes wrong.
class FaultySystem : public FileSystem {
 public:
  enum class Fault {
    kNone,
    kNotDone,    ///< fails, and nothing has happened
    kDone,       ///< fails, and yet it has happened
    kDieBefore,  ///< the process is gone before the call
    kDieAfter,   ///< and after it
  };
  Fault fault = Fault::kNone;
  int fault_at = -1;     ///< index of the call; -1: none
  int fault_until = -1;  ///< also all calls up to this one
  int error_number = EIO;
  int calls = 0;

  int open(const std::string& path, int flags, mode_t mode) override {
    // The caller of an open that fails has no descriptor; a file it created remains.
    return call([&] { return FileSystem::open(path, flags, mode); }, [&](int fd) { FileSystem::close(fd); });
  }
  ssize_t read(int fd, void* data, size_t size) override {
    return call([&] { return FileSystem::read(fd, data, size); });
  }
  ssize_t write(int fd, const void* data, size_t size) override {
    return call([&] { return FileSystem::write(fd, data, size); });
  }
  int fsync(int fd) override {
    return call([&] { return FileSystem::fsync(fd); });
  }
  int close(int fd) override {
    // A close that fails has closed all the same (Linux).
    return call([&] { return FileSystem::close(fd); }, [](int) {}, [&] { FileSystem::close(fd); });
  }
  int rename(const std::string& from, const std::string& to) override {
    return call([&] { return FileSystem::rename(from, to); });
  }
  int unlink(const std::string& path) override {
    return call([&] { return FileSystem::unlink(path); });
  }
  int mkdir(const std::string& path, mode_t mode) override {
    return call([&] { return FileSystem::mkdir(path, mode); });
  }

 private:
  template <class Do, class Undo = void (*)(int), class Instead = void (*)()>
  auto call(
      const Do& action, const Undo& undo = [](int) {}, const Instead& instead = [] {}) -> decltype(action()) {
    const int index = calls++;
    if (index < fault_at || index > std::max(fault_at, fault_until) || fault == Fault::kNone) return action();
    if (fault == Fault::kDieBefore) ::_exit(9);
    if (fault == Fault::kNotDone) {
      instead();
      errno = error_number;
      return -1;
    }
    const auto result = action();
    if (fault == Fault::kDieAfter) ::_exit(9);
    if (result >= 0) undo(static_cast<int>(result));
    errno = error_number;
    return -1;
  }
};

}  // namespace fairway::ledger::test

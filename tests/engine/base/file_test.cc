#include "engine/base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tests/engine/base/temporary_directory.h"

namespace fairway {
namespace {

using test::slurp;
using test::spill;
using test::TemporaryDirectory;

std::string as_text(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Fails, dies or is merely awkward at the chosen call, counted over all disk-changing calls; logs each call's name.
class FaultyFileSystem : public FileSystem {
 public:
  enum class Fault { kNone, kError, kDie };
  Fault fault = Fault::kNone;
  int fault_at = -1;
  int error_number = EIO;
  bool short_writes = false;
  int interrupted_writes = 0;
  std::vector<std::string> calls;

  ssize_t write(int fd, const void* data, size_t size) override {
    if (interrupted_writes > 0) {
      --interrupted_writes;
      errno = EINTR;
      return -1;
    }
    if (!pass("write")) return -1;
    return FileSystem::write(fd, data, short_writes ? std::min<size_t>(size, 3) : size);
  }
  ssize_t pwrite(int fd, const void* data, size_t size, int64_t offset) override {
    if (!pass("pwrite")) return -1;
    return FileSystem::pwrite(fd, data, short_writes ? std::min<size_t>(size, 3) : size, offset);
  }
  int fsync(int fd) override {
    struct stat status {};
    ::fstat(fd, &status);
    return pass(S_ISDIR(status.st_mode) ? "fsync folder" : "fsync") ? FileSystem::fsync(fd) : -1;
  }
  int rename(const std::string& from, const std::string& to) override {
    return pass("rename") ? FileSystem::rename(from, to) : -1;
  }
  int open(const std::string& path, int flags, mode_t mode) override {
    return (flags & O_CREAT) != 0 && !pass("create") ? -1 : FileSystem::open(path, flags, mode);
  }
  int mkdir(const std::string& path, mode_t mode) override {
    return pass("mkdir") ? FileSystem::mkdir(path, mode) : -1;
  }

 private:
  bool pass(const char* name) {
    const int index = static_cast<int>(calls.size());
    calls.push_back(name);
    if (fault == Fault::kNone || index != fault_at) return true;
    if (fault == Fault::kDie) ::_exit(17);
    errno = error_number;
    return false;
  }
};

const std::vector<std::string> kAtomicSteps = {"create", "write", "fsync", "rename", "fsync folder"};

TEST(WriteFileAtomic, IsCreateWriteFsyncRenameFsyncOfTheFolder) {
  const TemporaryDirectory directory;
  FaultyFileSystem system;
  ASSERT_TRUE(write_file_atomic(directory / "f", std::string_view("new"), system));
  EXPECT_EQ(system.calls, kAtomicSteps);
  EXPECT_EQ(slurp(directory / "f"), "new");
  EXPECT_EQ(directory.files(), std::vector<std::string>{"f"});
}

TEST(WriteFileAtomic, AFailureAtEveryStepLeavesTheOldFileAndNoTemporary) {
  for (size_t step = 0; step < kAtomicSteps.size(); ++step) {
    const TemporaryDirectory directory;
    spill(directory / "f", "old");
    FaultyFileSystem system;
    system.fault = FaultyFileSystem::Fault::kError;
    system.fault_at = static_cast<int>(step);
    const Status status = write_file_atomic(directory / "f", std::string_view("new"), system);
    ASSERT_FALSE(status) << kAtomicSteps[step];
    EXPECT_EQ(status.error().code, Errc::kIo);
    // Once renamed, the new content stands, complete; only its durability could not be promised.
    EXPECT_EQ(slurp(directory / "f"), kAtomicSteps[step] == "fsync folder" ? "new" : "old") << kAtomicSteps[step];
    EXPECT_EQ(directory.files(), std::vector<std::string>{"f"}) << kAtomicSteps[step];
    EXPECT_EQ(system.calls.size(), step + 1) << "something was retried after " << kAtomicSteps[step];
  }
}

TEST(WriteFileAtomicDeathTest, AProcessKilledAtAnyStepLeavesOldOrNewContent) {
  for (size_t step = 0; step < kAtomicSteps.size(); ++step) {
    const TemporaryDirectory directory;
    const std::string path = directory / "f";
    spill(path, "old");
    EXPECT_EXIT(
        {
          FaultyFileSystem system;
          system.fault = FaultyFileSystem::Fault::kDie;
          system.fault_at = static_cast<int>(step);
          static_cast<void>(write_file_atomic(path, std::string_view("new"), system));
        },
        testing::ExitedWithCode(17), "");
    EXPECT_EQ(slurp(path), kAtomicSteps[step] == "fsync folder" ? "new" : "old") << kAtomicSteps[step];
  }
}

TEST(WriteFileAtomic, DiskFullNamesThePathTheReasonAndWhatToDo) {
  const TemporaryDirectory directory;
  FaultyFileSystem system;
  system.fault = FaultyFileSystem::Fault::kError;
  system.fault_at = 1;
  system.error_number = ENOSPC;
  const Status status = write_file_atomic(directory / "f", std::string_view("new"), system);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::kIo);
  EXPECT_EQ(status.error().message(),
            (directory / "f") + ": cannot write (No space left on device); free some space and run again");
  EXPECT_TRUE(directory.files().empty());
}

// The kernel's own full device, in case an injected fault and a real one differ.
TEST(RunsOutOfSpace, TheRealFullDeviceGivesTheSameError) {
  const int fd = FileSystem::real().open("/dev/full", O_WRONLY, 0);
  if (fd < 0) GTEST_SKIP() << "this machine has no /dev/full";
  const std::string text = "x";
  EXPECT_FALSE(FileSystem::real().write_all(fd, std::as_bytes(std::span(text))));
  EXPECT_EQ(errno, ENOSPC);
  FileSystem::real().close(fd);
}

TEST(WriteFileAtomic, ShortAndInterruptedWritesAreContinued) {
  const TemporaryDirectory directory;
  FaultyFileSystem system;
  system.short_writes = true;
  system.interrupted_writes = 2;
  ASSERT_TRUE(write_file_atomic(directory / "f", std::string_view("ten bytes!"), system));
  EXPECT_EQ(slurp(directory / "f"), "ten bytes!");
}

TEST(WriteFileAtomic, MissingFolderIsAnError) {
  const TemporaryDirectory directory;
  const Status status = write_file_atomic(directory / "no/f", std::string_view("x"));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message(), (directory / "no/f") + ": cannot create (No such file or directory)");
}

TEST(AtomicFile, NothingAppearsBeforeCommitAndTheDestructorCleansUp) {
  const TemporaryDirectory directory;
  {
    auto file = AtomicFile::create(directory / "f");
    ASSERT_TRUE(file);
    ASSERT_TRUE(file->write(std::as_bytes(std::span("abc", 3))));
    EXPECT_FALSE(std::filesystem::exists(directory / "f"));
    EXPECT_EQ(directory.files().size(), 1u);
  }
  EXPECT_TRUE(directory.files().empty());
}

TEST(AtomicFile, OverwriteReplacesAHeaderAfterTheRest) {
  const TemporaryDirectory directory;
  FaultyFileSystem system;
  system.short_writes = true;
  auto file = AtomicFile::create(directory / "f", system);
  ASSERT_TRUE(file);
  ASSERT_TRUE(file->write(std::as_bytes(std::span("????body", 8))));
  ASSERT_TRUE(file->overwrite(0, std::as_bytes(std::span("HEAD", 4))));
  ASSERT_TRUE(file->write(std::as_bytes(std::span("tail", 4))));
  EXPECT_EQ(file->size_bytes(), 12u);
  ASSERT_TRUE(file->commit());
  EXPECT_EQ(slurp(directory / "f"), "HEADbodytail");
}

TEST(AtomicFile, ATemporaryLeftByAKilledProcessWithOurNumberIsPassedOver) {
  const TemporaryDirectory directory;
  // The number in its name tells which ones come next; the next five are occupied.
  auto first = AtomicFile::create(directory / "probe");
  ASSERT_TRUE(first);
  const std::string name = directory.files().at(0);
  const std::string stem = name.substr(5, name.rfind('-') + 1 - 5);
  const int next = std::stoi(name.substr(name.rfind('-') + 1)) + 1;
  for (int i = next; i < next + 5; ++i) spill(directory / ("f" + stem + std::to_string(i)), "stale");
  ASSERT_TRUE(write_file_atomic(directory / "f", std::string_view("fresh")));
  EXPECT_EQ(slurp(directory / "f"), "fresh");
}

TEST(ReadFile, AcceptsExactlyTheBoundAndRefusesOneByteMore) {
  const TemporaryDirectory directory;
  for (const size_t size : {size_t{0}, size_t{5}, size_t{1} << 20, (size_t{1} << 20) + 7}) {
    const std::string content(size, 'q');
    spill(directory / "f", content);
    const auto whole = read_file(directory / "f", size);
    ASSERT_TRUE(whole) << whole.error().message();
    EXPECT_EQ(as_text(*whole), content);
    if (size == 0) continue;
    const auto refused = read_file(directory / "f", size - 1);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::kData);
    EXPECT_NE(refused.error().what.find(std::to_string(size - 1)), std::string::npos);
  }
  EXPECT_TRUE(read_file(directory / "f", UINT64_MAX));
}

TEST(ReadFile, TellsAMissingFileFromAFolder) {
  const TemporaryDirectory directory;
  const auto missing = read_file(directory / "no", 10);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Errc::kNoInput);
  EXPECT_EQ(missing.error().message(), (directory / "no") + ": cannot open for reading (No such file or directory)");
  const auto folder = read_file(directory.path(), 10);
  ASSERT_FALSE(folder);
  EXPECT_EQ(folder.error().code, Errc::kData);
  EXPECT_EQ(folder.error().what, "is a folder; name a file");
}

TEST(MappedFile, ShowsTheBytesAndSurvivesMoves) {
  const TemporaryDirectory directory;
  spill(directory / "f", "mapped");
  spill(directory / "empty", "");
  auto file = MappedFile::open(directory / "f");
  ASSERT_TRUE(file);
  MappedFile moved = std::move(*file);
  EXPECT_TRUE(file->bytes().empty());
  EXPECT_EQ(std::memcmp(moved.bytes().data(), "mapped", 6), 0);
  auto empty = MappedFile::open(directory / "empty");
  ASSERT_TRUE(empty);
  EXPECT_TRUE(empty->bytes().empty());
  *empty = std::move(moved);
  EXPECT_EQ(empty->bytes().size(), 6u);
}

TEST(MappedFile, RefusesWhatIsMissingOrNoFile) {
  const TemporaryDirectory directory;
  EXPECT_EQ(MappedFile::open(directory / "no").error().code, Errc::kNoInput);
  EXPECT_EQ(MappedFile::open(directory.path()).error().code, Errc::kData);
}

TEST(MakeDirectories, CreatesEveryLevelOnceAndMakesItDurable) {
  const TemporaryDirectory directory;
  FaultyFileSystem system;
  ASSERT_TRUE(make_directories(directory / "a/b/c//", system));
  EXPECT_TRUE(std::filesystem::is_directory(directory / "a/b/c"));
  EXPECT_EQ(std::count(system.calls.begin(), system.calls.end(), "fsync folder"), 3);
  EXPECT_TRUE(make_directories(directory / "a/b/c"));
  EXPECT_TRUE(make_directories("/"));
  EXPECT_TRUE(make_directories("."));
}

TEST(MakeDirectories, AFileInTheWayIsAnError) {
  const TemporaryDirectory directory;
  spill(directory / "f", "");
  EXPECT_EQ(make_directories(directory / "f").error().message(),
            (directory / "f") + ": cannot create the folder (File exists)");
  EXPECT_EQ(make_directories(directory / "f/g").error().code, Errc::kIo);
  EXPECT_FALSE(make_directories(""));
}

TEST(ParentDirectory, OfEveryShapeOfPath) {
  EXPECT_EQ(parent_directory("a/b"), "a");
  EXPECT_EQ(parent_directory("b"), ".");
  EXPECT_EQ(parent_directory("/b"), "/");
  EXPECT_EQ(parent_directory("/a/b"), "/a");
}

}  // namespace
}  // namespace fairway

#include "engine/base/log.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "tests/engine/base/temporary_directory.h"

namespace fairway {
namespace {

using test::slurp;
using test::TemporaryDirectory;

TEST(RunLog, EachLineIsInTheFileAsSoonAsTheCallReturns) {
  const TemporaryDirectory directory;
  auto log = RunLog::open(directory / "log", RunLog::Existing::kReplace, RunLog::Echo::kNo);
  ASSERT_TRUE(log);
  ASSERT_TRUE(log->line("step:1"));
  EXPECT_EQ(slurp(directory / "log"), "step:1\n");
  ASSERT_TRUE(log->line(""));
  EXPECT_EQ(slurp(directory / "log"), "step:1\n\n");
}

TEST(RunLog, AppendsOnlyWhenAskedTo) {
  const TemporaryDirectory directory;
  const std::string path = directory / "log";
  const auto write = [&](RunLog::Existing existing, const char* text) {
    auto log = RunLog::open(path, existing, RunLog::Echo::kNo);
    ASSERT_TRUE(log);
    ASSERT_TRUE(log->line(text));
  };
  write(RunLog::Existing::kReplace, "one");
  write(RunLog::Existing::kAppend, "two");
  EXPECT_EQ(slurp(path), "one\ntwo\n");
  write(RunLog::Existing::kReplace, "three");
  EXPECT_EQ(slurp(path), "three\n");
}

TEST(RunLog, EchoesTheSameLineToStdoutOnlyWhenAskedTo) {
  const TemporaryDirectory directory;
  auto loud = RunLog::open(directory / "loud", RunLog::Existing::kReplace, RunLog::Echo::kStdout);
  auto quiet = RunLog::open(directory / "quiet", RunLog::Existing::kReplace, RunLog::Echo::kNo);
  ASSERT_TRUE(loud && quiet);
  testing::internal::CaptureStdout();
  const bool written = loud->line("heard") && quiet->line("unheard");
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "heard\n");
  EXPECT_TRUE(written);
  EXPECT_EQ(slurp(directory / "loud"), "heard\n");
}

TEST(RunLog, AFullDiskIsReportedByTheLineThatMetIt) {
  class Full : public FileSystem {
    ssize_t write(int, const void*, size_t) override {
      errno = ENOSPC;
      return -1;
    }
  };
  const TemporaryDirectory directory;
  Full system;
  auto log = RunLog::open(directory / "log", RunLog::Existing::kReplace, RunLog::Echo::kNo, system);
  ASSERT_TRUE(log);
  const Status status = log->line("x");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::kIo);
  EXPECT_EQ(status.error().where, directory / "log");
}

TEST(RunLog, AnUnusablePathIsAnError) {
  EXPECT_EQ(RunLog::open("/nonexistent/log", RunLog::Existing::kAppend, RunLog::Echo::kNo).error().code, Errc::kIo);
}

}  // namespace
}  // namespace fairway

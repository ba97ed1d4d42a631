#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <filesystem>

#include "ledger/log.h"
#include "tests/ledger/support.h"

namespace fairway::ledger {
namespace {

namespace fs = std::filesystem;
using test::FaultySystem;
using test::kOrigin;
using test::LogFolder;
using test::message;
using test::test_entry;
using test::test_key;
using Fault = FaultySystem::Fault;

/// Everything in the folder and beside it, by name.
std::map<std::string, std::string> contents(const LogFolder& log) {
  std::map<std::string, std::string> out;
  for (const std::string& name : log.root.files()) out[name] = test::slurp(log.root / name);
  return out;
}

/// Opens the log at `system` and appends `batch` entries; the size acknowledged, or nothing.
std::optional<uint64_t> try_append(const LogFolder& folder, size_t batch, FileSystem& system) {
  auto log = Log::open(folder.paths, folder.key, system);
  if (!log) return std::nullopt;
  std::vector<std::string> entries;
  const uint64_t size = log->checkpoint().head.size;
  for (size_t i = 0; i < batch; ++i) entries.push_back(test_entry(size + i));
  const auto first = log->append(entries);
  if (!first) {
    EXPECT_FALSE(log->append(entries)) << "a log that failed must be opened again";
    return std::nullopt;
  }
  return *first + batch;
}

/// What must hold after anything: the log opens, holds a prefix of the entries that is at least what was acknowledged
/// and at most what was tried, fsck passes, and it goes on.
void expect_recovered(LogFolder& log, uint64_t acknowledged, uint64_t tried) {
  const uint64_t size = [&] {
    auto opened = Log::open(log.paths, log.key);
    EXPECT_TRUE(opened) << message(opened);
    return opened ? opened->checkpoint().head.size : 0;
  }();
  EXPECT_TRUE(size == acknowledged || size == tried) << size;
  log.expect_sound(size);
  log.append({3});
  log.expect_sound(size + 3);
}

/// Sizes before and batch: a first entry, a new partial tile, one that fills a tile, one that begins the next, one over two borders.
const std::vector<std::pair<size_t, size_t>> kSituations = {{0, 1}, {5, 1}, {255, 1}, {255, 2}, {254, 259}};

int calls_of_an_append(size_t before, size_t batch) {
  LogFolder log;
  log.create();
  log.append({before});
  FaultySystem system;
  EXPECT_TRUE(try_append(log, batch, system));
  return system.calls;
}

TEST(LogFaults, EveryFailingSystemCallOfAnAppendLosesNothing) {
  for (const auto& [before, batch] : kSituations) {
    const int calls = calls_of_an_append(before, batch);
    ASSERT_GT(calls, 30);
    for (const Fault fault : {Fault::kNotDone, Fault::kDone}) {
      for (int i = 0; i < calls; ++i) {
        SCOPED_TRACE(testing::Message() << before << "+" << batch << ", call " << i << ", "
                                        << (fault == Fault::kDone ? "done" : "not done"));
        LogFolder log;
        log.create();
        log.append({before});
        FaultySystem system;
        system.fault = fault;
        system.fault_at = i;
        const auto size = try_append(log, batch, system);
        expect_recovered(log, size.value_or(before), before + batch);
      }
    }
  }
}

TEST(LogFaults, AKillBeforeAndAfterEverySystemCallOfAnAppendLosesNothing) {
  for (const auto& [before, batch] : kSituations) {
    const int calls = calls_of_an_append(before, batch);
    for (const Fault fault : {Fault::kDieBefore, Fault::kDieAfter}) {
      for (int i = 0; i < calls; ++i) {
        SCOPED_TRACE(testing::Message() << before << "+" << batch << ", call " << i << ", "
                                        << (fault == Fault::kDieAfter ? "after" : "before"));
        LogFolder log;
        log.create();
        log.append({before});
        int pipe_ends[2];
        ASSERT_EQ(::pipe(pipe_ends), 0);
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
          FaultySystem system;
          system.fault = fault;
          system.fault_at = i;
          const auto size = try_append(log, batch, system);
          if (size) (void)!::write(pipe_ends[1], &*size, sizeof *size);
          ::_exit(0);
        }
        ::close(pipe_ends[1]);
        uint64_t acknowledged = before;
        (void)!::read(pipe_ends[0], &acknowledged, sizeof acknowledged);
        ::close(pipe_ends[0]);
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        expect_recovered(log, acknowledged, before + batch);
      }
    }
  }
}

TEST(LogFaults, ADiskThatStaysFullStopsTheAppendAndChangesNothingPublished) {
  for (const int error_number : {ENOSPC, EROFS}) {
    LogFolder log;
    log.create();
    log.append({5});
    const std::string published = test::slurp(log.file("checkpoint"));
    const auto before = contents(log);
    const int calls = calls_of_an_append(5, 1);
    bool named = false;
    for (int i = 0; i < calls; ++i) {
      FaultySystem system;
      system.fault = Fault::kNotDone;
      system.fault_at = i;
      system.fault_until = 1 << 30;
      system.error_number = error_number;
      auto opened = Log::open(log.paths, log.key, system);
      if (!opened) continue;
      const std::string entry = test_entry(5);
      const auto first = opened->append({&entry, 1});
      if (first) continue;  // the calls that were left only tidy up
      EXPECT_EQ(first.error().code == Errc::kIo || first.error().code == Errc::kNoInput, true);
      EXPECT_NE(first.error().message().find(log.root.path()), std::string::npos);
      named |= first.error().message().find(error_number == ENOSPC ? "No space left" : "Read-only file system") !=
               std::string::npos;
      if (test::slurp(log.file("checkpoint")) != published) break;
    }
    EXPECT_TRUE(named);
    // Whatever was left over, the files that were published are as they were.
    for (const auto& [name, bytes] : before) {
      if (name.starts_with("log/tile")) {
        EXPECT_EQ(test::slurp(log.root / name), bytes) << name;
      }
    }
  }
}

TEST(LogFaults, ALimitOfTheOperatingSystemIsAnErrorInOneLine) {
  LogFolder log;
  log.create();
  log.append({5});
  const auto before = contents(log);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100, 100};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    auto opened = Log::open(log.paths, log.key);
    const std::string entry(1000, 'x');
    const bool refused = opened && !opened->append({&entry, 1});
    ::_exit(refused ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(contents(log), before);
}

TEST(Log, TwoWritersExcludeEachOther) {
  LogFolder log;
  log.create();
  auto first = Log::open(log.paths, log.key);
  ASSERT_TRUE(first);
  const auto second = Log::open(log.paths, log.key);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::kUnavailable);
  EXPECT_NE(second.error().what.find("another process is writing"), std::string::npos);
}

TEST(Log, ManyWritersInTurnLoseNothing) {
  LogFolder log;
  log.create();
  constexpr int kWriters = 4, kEach = 25;
  std::vector<pid_t> children;
  for (int w = 0; w < kWriters; ++w) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (int done = 0; done < kEach;) {
        auto opened = Log::open(log.paths, log.key);
        if (!opened && opened.error().code == Errc::kUnavailable) {
          ::usleep(100);
          continue;
        }
        if (!opened) ::_exit(1);
        const std::string entry = test_entry(opened->checkpoint().head.size);
        if (!opened->append({&entry, 1})) ::_exit(1);
        ++done;
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  log.expect_sound(kWriters * kEach);
}

TEST(Log, AWriterThatDidNotSeeTheLockCannotForkTheLog) {
  LogFolder log;
  log.create();
  log.append({3});
  auto opened = Log::open(log.paths, log.key);
  ASSERT_TRUE(opened);
  // Another machine, whose lock is not ours, publishes meanwhile.
  const Checkpoint other = sign_checkpoint(TreeHead{kOrigin, 4, leaf_hash("other")}, log.key);
  test::spill(log.file("checkpoint"), other.text());
  const std::string entry = test_entry(3);
  const auto first = opened->append({&entry, 1});
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().code, Errc::kData);
  EXPECT_NE(first.error().what.find("would fork it"), std::string::npos);
  EXPECT_EQ(test::slurp(log.file("checkpoint")), other.text());
  EXPECT_EQ(parse_checkpoint(test::slurp(log.paths.last_signed), "")->head.size, 3u) << "nothing was signed";
}

/// Opening must fail with kData and words, and change nothing.
void expect_refused(const LogFolder& log, const PrivateKey& key, const std::string& words) {
  const auto before = contents(log);
  const auto opened = Log::open(log.paths, key);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::kData) << message(opened);
  EXPECT_NE(opened.error().message().find(words), std::string::npos) << message(opened);
  EXPECT_EQ(contents(log), before);
}

TEST(Log, AFolderThatWasRolledBackIsRefused) {
  LogFolder log;
  log.create();
  log.append({300});
  fs::copy(log.paths.directory, log.root / "backup", fs::copy_options::recursive);
  log.append({7});
  fs::remove_all(log.paths.directory);
  fs::rename(log.root / "backup", log.paths.directory);
  expect_refused(log, log.key, "rolled back: the key has signed 307 entries, the folder holds 300");
}

TEST(Log, ACheckpointThatWasRolledBackAloneIsPutRight) {
  // The tiles prove that nothing was lost: as after a kill before the last step.
  LogFolder log;
  log.create();
  log.append({300});
  const std::string old = test::slurp(log.file("checkpoint"));
  log.append({7});
  test::spill(log.file("checkpoint"), old);
  auto opened = Log::open(log.paths, log.key);
  ASSERT_TRUE(opened) << message(opened);
  EXPECT_EQ(opened->checkpoint().head.size, 307u);
}

TEST(Log, AForkedFolderIsRefused) {
  LogFolder log;
  log.create();
  log.append({300});
  // A second folder of the same key, its memory lost, with other entries.
  LogFolder other;
  other.create();
  {
    auto opened = Log::open(other.paths, other.key);
    std::vector<std::string> entries(300, "something else");
    ASSERT_TRUE(opened->append(entries));
  }
  fs::remove_all(log.paths.directory);
  fs::copy(other.paths.directory, log.paths.directory, fs::copy_options::recursive);
  expect_refused(log, log.key, "forked: the key has signed another tree of 300 entries");
  other.append({5});
  fs::remove_all(log.paths.directory);
  fs::copy(other.paths.directory, log.paths.directory, fs::copy_options::recursive);
  expect_refused(log, log.key, "forked: the tree does not continue the 300 entries");
}

TEST(Log, AnotherKeyAnotherOriginAndAnotherMemoryAreRefused) {
  LogFolder log;
  log.create();
  log.append({3});
  expect_refused(log, test_key(2), "not signed by");
  const std::string memory = test::slurp(log.paths.last_signed), published = test::slurp(log.file("checkpoint"));
  test::spill(log.paths.last_signed, sign_checkpoint(TreeHead{"other.example", 3, leaf_hash("x")}, log.key).text());
  expect_refused(log, log.key, "remembers the log \"other.example\"");
  test::spill(log.paths.last_signed, "garbage");
  expect_refused(log, log.key, "last-signed");
  test::spill(log.paths.last_signed, memory);
  std::string origin = published;
  origin[0] ^= 1;
  test::spill(log.file("checkpoint"), origin);
  expect_refused(log, log.key, "");
}

TEST(Log, AKeyThatComesWithoutItsMemoryGoesByWhatIsPublished) {
  LogFolder log;
  log.create();
  log.append({10});
  fs::remove(log.paths.last_signed);
  log.append({1});
  EXPECT_EQ(parse_checkpoint(test::slurp(log.paths.last_signed), "")->head.size, 11u);
  log.expect_sound(11);
}

TEST(Log, DamageAtTheEdgeIsSeenBeforeAnythingIsBuiltOnIt) {
  const std::vector<std::pair<std::string, std::string>> cases = {{"tile/0/001.p/44", "the tiles do not give the root"},
                                                                  {"tile/1/000.p/1", "the tiles do not give the root"},
                                                                  {"tile/entries/001.p/44", "entry 256"}};
  for (const auto& [name, words] : cases) {
    LogFolder log;
    log.create();
    log.append({300});
    const std::string good = test::slurp(log.file(name));
    std::string bad = good;
    bad[4] ^= 1;
    test::spill(log.file(name), bad);
    expect_refused(log, log.key, words);
    test::spill(log.file(name), good + "x");
    expect_refused(log, log.key, name.find("entries") != std::string::npos ? "" : "wrong width");
    test::spill(log.file(name), good.substr(0, good.size() - 1));
    expect_refused(log, log.key, name.find("entries") != std::string::npos ? "cut off" : "wrong width");
  }
}

TEST(Log, EntriesOfUpTo65535BytesFitAndNoLongerOnes) {
  LogFolder log;
  log.create();
  auto opened = Log::open(log.paths, log.key);
  const std::vector<std::string> good = {std::string(65535, 'x'), "", std::string(65535, '\0')};
  ASSERT_TRUE(opened->append(good));
  const auto before = contents(log);
  const std::vector<std::string> bad = {"short", std::string(65536, 'x')};
  const auto first = opened->append(bad);
  ASSERT_FALSE(first);
  EXPECT_EQ(first.error().code, Errc::kData);
  EXPECT_EQ(first.error().where, "entry 2 of 2");
  EXPECT_EQ(contents(log), before);
  ASSERT_TRUE(opened->append(std::span(bad).first(1))) << "a refused entry breaks nothing";
  EXPECT_EQ(*TileStore(log.paths.directory, 4).entry(2), good[2]);
}

TEST(Log, CreatingTwiceIsRefused) {
  LogFolder log;
  log.create();
  log.append({2});
  const auto before = contents(log);
  EXPECT_EQ(Log::create(log.paths, kOrigin, log.key).error().code, Errc::kUsage);
  const LogPaths second{log.root / "second", log.paths.last_signed};
  EXPECT_EQ(Log::create(second, kOrigin, log.key).error().code, Errc::kData) << "one key, one log";
  EXPECT_EQ(Log::create({log.root / "third", log.root / "m"}, "a b", log.key).error().code, Errc::kUsage);
  EXPECT_EQ(contents(log), before);
}

TEST(Log, ACreationThatFailsOrIsKilledAnywhereCanBeDoneAgain) {
  FaultySystem counting;
  {
    LogFolder log;
    ASSERT_TRUE(Log::create(log.paths, kOrigin, log.key, counting));
  }
  for (int i = 0; i < counting.calls; ++i) {
    for (const Fault fault : {Fault::kNotDone, Fault::kDone}) {
      SCOPED_TRACE(i);
      LogFolder log;
      FaultySystem system;
      system.fault = fault;
      system.fault_at = i;
      const Status status = Log::create(log.paths, kOrigin, log.key, system);
      if (!status && !fs::exists(log.file("checkpoint"))) log.create();
      log.append({2});
      log.expect_sound(2);
    }
  }
}

TEST(Log, CosignaturesArePublishedOnlyForTheCurrentCheckpoint) {
  LogFolder log;
  log.create();
  log.append({4});
  auto opened = Log::open(log.paths, log.key);
  Checkpoint cosigned = opened->checkpoint();
  cosigned.note.signatures.push_back(cosign(cosigned, "w.example", test_key(5), 1700000000));
  ASSERT_TRUE(opened->publish_cosigned(cosigned));
  EXPECT_EQ(read_checkpoint(log.paths.directory)->note.signatures.size(), 2u);
  const std::string entry = test_entry(4);
  ASSERT_TRUE(opened->append({&entry, 1}));
  EXPECT_EQ(opened->publish_cosigned(cosigned).error().code, Errc::kUsage);
  EXPECT_EQ(read_checkpoint(log.paths.directory)->head.size, 5u);
}

TEST(Log, FullTilesReplaceTheirPartialForms) {
  LogFolder log;
  log.create();
  for (int i = 0; i < 258; ++i) log.append({1});
  EXPECT_FALSE(fs::exists(log.file("tile/0/000.p")));
  EXPECT_FALSE(fs::exists(log.file("tile/entries/000.p")));
  EXPECT_TRUE(fs::exists(log.file("tile/0/001.p/1")));
  EXPECT_TRUE(fs::exists(log.file("tile/0/001.p/2")));
  // A reader with an older checkpoint finds the hashes in the full tile.
  EXPECT_EQ(*tree_root(*std::make_unique<TileStore>(log.paths.directory, 200), 200),
            merkle_root(test::test_leaves(200)));
  EXPECT_EQ(*TileStore(log.paths.directory, 200).entry(199), test_entry(199));
}

}  // namespace
}  // namespace fairway::ledger

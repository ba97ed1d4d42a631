#include "ledger/fsck.h"

#include <filesystem>
#include <fstream>

#include "tests/ledger/support.h"

namespace fairway::ledger {
namespace {

namespace fs = std::filesystem;
using test::LogFolder;
using test::message;
using test::test_vkey;

/// fsck as a user sees it: nothing (sound), or what it says. An error is a finding too.
std::optional<FsckFinding> finding_of(const LogFolder& log) {
  const auto report = fsck(log.paths.directory, policy_of(test_vkey()), {});
  if (!report) return FsckFinding{report.error().where, report.error().what, std::nullopt};
  return report->finding;
}

/// Where entry i of a bundle begins and ends in its file.
std::vector<std::pair<size_t, size_t>> entry_ranges(const std::string& bundle) {
  std::vector<std::pair<size_t, size_t>> ranges;
  for (size_t at = 0; at < bundle.size();) {
    const size_t length = static_cast<uint8_t>(bundle[at]) << 8 | static_cast<uint8_t>(bundle[at + 1]);
    ranges.emplace_back(at, at + 2 + length);
    at += 2 + length;
  }
  return ranges;
}

TEST(Fsck, EveryFlippedBitOfALogOf50EntriesIsFoundAndItsEntryNamed) {
  LogFolder log;
  log.create();
  log.append({50});
  ASSERT_FALSE(finding_of(log));
  const std::string bundle_name = "tile/entries/000.p/50", tile_name = "tile/0/000.p/50";
  const auto ranges = entry_ranges(test::slurp(log.file(bundle_name)));
  ASSERT_EQ(ranges.size(), 50u);
  size_t flips = 0;
  for (const std::string& name : {std::string("checkpoint"), tile_name, bundle_name}) {
    const std::string good = test::slurp(log.file(name));
    for (size_t bit = 0; bit < good.size() * 8; ++bit) {
      std::string bad = good;
      bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
      test::spill(log.file(name), bad);
      const auto finding = finding_of(log);
      ASSERT_TRUE(finding) << name << " bit " << bit;
      ++flips;
      if (name == "checkpoint") continue;
      uint64_t entry = bit / 8 / 32;
      if (name == bundle_name) {
        entry = 0;
        while (ranges[entry].second <= bit / 8) ++entry;
      }
      ASSERT_EQ(finding->first_entry, entry)
          << name << " bit " << bit << ": " << finding->where << ": " << finding->what;
      ASSERT_NE(finding->where.find(name), std::string::npos) << finding->where << " for " << name << " bit " << bit;
    }
    test::spill(log.file(name), good);
  }
  EXPECT_GT(flips, 15000u);
  EXPECT_FALSE(finding_of(log));
}

TEST(Fsck, EveryFlippedBitOfEveryPublishedFileIsFound) {
  LogFolder log;  // with partial tiles of earlier checkpoints
  log.create();
  for (int i = 0; i < 8; ++i) log.append({1});
  size_t harmless = 0;
  for (const std::string& file : log.root.files()) {
    if (!file.starts_with("log/")) continue;
    const std::string path = log.root / file, good = test::slurp(path);
    for (size_t bit = 0; bit < good.size() * 8; ++bit) {
      std::string bad = good;
      bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << bit % 8));
      test::spill(path, bad);
      const bool found = finding_of(log).has_value();
      // The key in the folder is a convenience: fsck is given the key.
      if (file == "log/log.vkey") {
        EXPECT_FALSE(found);
        ++harmless;
      } else {
        ASSERT_TRUE(found) << file << " bit " << bit;
      }
    }
    test::spill(path, good);
  }
  EXPECT_GT(harmless, 0u);
}

TEST(Fsck, AMissingFileIsNamed) {
  LogFolder log;
  log.create();
  log.append({70, 300, 230});
  for (const std::string name :
       {"tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/001", "tile/entries/002.p/88"}) {
    fs::rename(log.file(name), log.root / "away");
    const auto finding = finding_of(log);
    ASSERT_TRUE(finding) << name;
    EXPECT_NE(finding->where.find(name), std::string::npos) << finding->where;
    fs::rename(log.root / "away", log.file(name));
  }
  EXPECT_FALSE(finding_of(log));
  fs::remove(log.file("checkpoint"));
  EXPECT_EQ(fsck(log.paths.directory, policy_of(test_vkey()), {}).error().code, Errc::kNoInput);
}

TEST(Fsck, ATileOfTheWrongWidthIsNamed) {
  LogFolder log;
  log.create();
  log.append({300});
  for (const std::string name :
       {"tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"}) {
    const std::string good = test::slurp(log.file(name));
    const auto ranges = entry_ranges(name.find("entries") == std::string::npos ? "" : good);
    const std::string shorter = ranges.empty() ? good.substr(32) : good.substr(0, ranges.back().first);
    for (const std::string& bad :
         {shorter, good + good.substr(0, ranges.empty() ? 32 : ranges[0].second), good.substr(1), std::string()}) {
      test::spill(log.file(name), bad);
      const auto finding = finding_of(log);
      ASSERT_TRUE(finding) << name;
      EXPECT_NE(finding->where.find(name), std::string::npos) << finding->where << ": " << finding->what;
    }
    test::spill(log.file(name), good);
  }
}

TEST(Fsck, AConsistentForgeryIsCaughtByTheRoot) {
  // Entries and tiles rewritten so that they agree; only the signed root is the old one.
  LogFolder log, other;
  log.create();
  log.append({300});
  other.create();
  {
    auto opened = Log::open(other.paths, other.key);
    std::vector<std::string> entries;
    for (int i = 0; i < 300; ++i) entries.push_back(i == 77 ? "forged" : test::test_entry(i));
    ASSERT_TRUE(opened->append(entries));
  }
  fs::copy(log.file("checkpoint"), other.file("checkpoint"), fs::copy_options::overwrite_existing);
  const auto finding = finding_of(other);
  ASSERT_TRUE(finding);
  EXPECT_NE(finding->what.find("the root signed is another one"), std::string::npos);
}

TEST(Fsck, AnotherKeyIsAFinding) {
  LogFolder log;
  log.create();
  log.append({3});
  const auto report = fsck(log.paths.directory, policy_of(test_vkey(2)), {});
  ASSERT_TRUE(report);
  ASSERT_TRUE(report->finding);
  EXPECT_NE(report->finding->what.find("not signed by"), std::string::npos);
}

TEST(Fsck, LeftoversOfAnAppendThatWasCutOffAreHarmless) {
  LogFolder log;
  log.create();
  log.append({5});
  test::spill(log.file("tile/0/000.p/6"), "left by a killed process");
  test::spill(log.file("tile/0/000.p/5.tmp-1-0"), "also");
  EXPECT_FALSE(finding_of(log));
  log.append({1});
  log.expect_sound(6);
}

}  // namespace
}  // namespace fairway::ledger

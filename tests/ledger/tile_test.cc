#include "ledger/tile.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "tests/ledger/support.h"

namespace fairway::ledger {
namespace {

using test::LogFolder;
using test::test_entry;
using test::test_leaves;

TEST(Tile, PathsAreThoseOfTheSpecification) {
  EXPECT_EQ(tile_path(0, 0, 256), "tile/0/000");
  EXPECT_EQ(tile_path(0, 1234067, 256), "tile/0/x001/x234/067");  // the specification's example
  EXPECT_EQ(tile_path(3, 999, 255), "tile/3/999.p/255");
  EXPECT_EQ(tile_path(1, 1000, 1), "tile/1/x001/000.p/1");
  EXPECT_EQ(tile_path(0, 123456789, 256), "tile/0/x123/x456/789");
  EXPECT_EQ(bundle_path(273, 112), "tile/entries/273.p/112");
  EXPECT_EQ(bundle_path(1234067, 256), "tile/entries/x001/x234/067");
}

TEST(Tile, WidthsAreThoseOfTheSpecification) {
  // floor(s / 256^l) mod 256 for the partial tile, 256 for those before it.
  EXPECT_EQ(tile_width(0, 0, 0), 0u);
  EXPECT_EQ(tile_width(0, 0, 256), 256u);
  EXPECT_EQ(tile_width(0, 1, 256), 0u);
  EXPECT_EQ(tile_width(1, 0, 256), 1u);
  EXPECT_EQ(tile_width(0, 272, 70000), 256u);
  EXPECT_EQ(tile_width(0, 273, 70000), 112u);
  EXPECT_EQ(tile_width(0, 274, 70000), 0u);
  EXPECT_EQ(tile_width(1, 0, 70000), 256u);
  EXPECT_EQ(tile_width(1, 1, 70000), 17u);
  EXPECT_EQ(tile_width(2, 0, 70000), 1u);
  EXPECT_EQ(tile_width(3, 0, 70000), 0u);
}

/// The files of a log by definition: MTH(D[(n*256+i)*256^l : (n*256+i+1)*256^l]) and length-prefixed entries.
std::map<std::string, std::string> defined_files(const std::vector<Digest>& leaves) {
  std::map<std::string, std::string> files;
  std::vector<Digest> row = leaves;
  for (unsigned level = 0; !row.empty(); ++level) {
    std::vector<Digest> above;
    for (size_t n = 0; n * 256 < row.size(); ++n) {
      const auto tile = std::span(row).subspan(n * 256, std::min<size_t>(256, row.size() - n * 256));
      std::string bytes;
      for (const Digest& hash : tile) bytes.append(hash.begin(), hash.end());
      files[tile_path(level, n, static_cast<unsigned>(tile.size()))] = bytes;
      if (tile.size() == 256) above.push_back(merkle_root(tile));
    }
    row = above;
  }
  for (size_t i = 0; i < leaves.size(); ++i) {
    const size_t n = i / 256, width = std::min<size_t>(256, leaves.size() - n * 256);
    const std::string entry = test_entry(i);
    std::string& bytes = files[bundle_path(n, static_cast<unsigned>(width))];
    bytes += static_cast<char>(entry.size() >> 8);
    bytes += static_cast<char>(entry.size());
    bytes += entry;
  }
  return files;
}

void expect_files(const LogFolder& log, const std::map<std::string, std::string>& expected, bool nothing_else) {
  for (const auto& [name, bytes] : expected) ASSERT_EQ(test::slurp(log.file(name)), bytes) << name;
  size_t count = 0;
  for (const std::string& name : log.root.files()) count += name.starts_with("log/tile/") ? 1 : 0;
  if (nothing_else) {
    EXPECT_EQ(count, expected.size());
  }
}

TEST(Tile, ALogOf70000EntriesHasTheLayoutOfTheSpecification) {
  LogFolder log;
  log.create();
  log.append({30000, 40000});
  const auto expected = defined_files(test_leaves(70000));
  size_t full0 = 0, full1 = 0;
  for (const auto& [name, bytes] : expected) {
    full0 += name.starts_with("tile/0/") && bytes.size() == 8192 ? 1 : 0;
    full1 += name.starts_with("tile/1/") && bytes.size() == 8192 ? 1 : 0;
  }
  // "273 full level 0 tiles, one partial level 0 tile of width 112, one full level 1 tile, one partial level 1 tile of
  // width 17, and one partial level 2 tile of width 1".
  EXPECT_EQ(full0, 273u);
  EXPECT_EQ(full1, 1u);
  EXPECT_EQ(expected.at("tile/0/273.p/112").size(), 112u * 32);
  EXPECT_EQ(expected.at("tile/1/001.p/17").size(), 17u * 32);
  EXPECT_EQ(expected.at("tile/2/000.p/1").size(), 32u);
  EXPECT_EQ(expected.size(), 273u + 1 + 1 + 1 + 1 + 274);
  expect_files(log, expected, false);
  log.expect_sound(70000);
}

TEST(Tile, EverySizeUpTo600HasItsTilesByteForByte) {
  LogFolder log;
  log.create();
  const auto leaves = test_leaves(600);
  for (uint64_t size = 1; size <= 600; ++size) {
    log.append({1});
    // All files at the sizes where something full appears, at some others, and at the end.
    if (size % 256 > 1 && size % 37 != 0 && size != 600) continue;
    expect_files(log, defined_files({leaves.begin(), leaves.begin() + static_cast<ptrdiff_t>(size)}), false);
  }
  log.expect_sound(600);
}

TEST(Tile, BatchesLeaveNothingButWhatTheSpecificationNames) {
  for (const uint64_t size : {1, 2, 255, 256, 257, 511, 512, 513, 600}) {
    LogFolder log;
    log.create();
    log.append({size});
    expect_files(log, defined_files(test_leaves(size)), true);
  }
}

RC_GTEST_PROP(Tile, AnySequenceOfBatchesGivesTheSameLog, ()) {
  const auto batches = *rc::gen::container<std::vector<size_t>>(rc::gen::inRange<size_t>(0, 300));
  size_t size = 0;
  for (const size_t batch : batches) size += batch;
  LogFolder log;
  log.create();
  log.append(batches);
  expect_files(log, defined_files(test_leaves(size)), false);
  log.expect_sound(size);
}

RC_GTEST_PROP(Bundle, DecodingGivesTheEntriesBack, (const std::vector<std::string>& entries)) {
  RC_PRE(entries.size() <= 256);
  std::string bytes;
  for (const std::string& entry : entries) append_to_bundle(bytes, entry);
  const auto decoded = decode_bundle(bytes, static_cast<unsigned>(entries.size()), "b");
  RC_ASSERT(static_cast<bool>(decoded));
  RC_ASSERT(std::equal(entries.begin(), entries.end(), decoded->begin(), decoded->end()));
  RC_ASSERT(!decode_bundle(bytes, static_cast<unsigned>(entries.size()) + 1, "b"));
  if (!bytes.empty()) {
    bytes.pop_back();
    RC_ASSERT(!decode_bundle(bytes, static_cast<unsigned>(entries.size()), "b"));
  }
}

TEST(Tile, AWrongWidthIsNamed) {
  const auto tile = decode_tile(std::string(64, 'x'), 3, "tile/0/000.p/3");
  ASSERT_FALSE(tile);
  EXPECT_EQ(tile.error().code, Errc::kData);
  EXPECT_EQ(tile.error().message(), "tile/0/000.p/3: a tile of the wrong width: 64 bytes where 3 hashes take 96");
}

}  // namespace
}  // namespace fairway::ledger

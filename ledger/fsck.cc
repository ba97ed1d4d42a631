#include "ledger/fsck.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "ledger/store.h"

namespace fairway::ledger {
namespace {

namespace fs = std::filesystem;

class Fsck {
 public:
  Fsck(std::string directory, const FsckOptions& options, FileSystem& system, FsckReport& report)
      : directory_(std::move(directory)),
        options_(options),
        system_(system),
        report_(report),
        store_(directory_, report.head.size, system) {}

  /// False once there is a finding.
  Result<bool> run() {
    const uint64_t size = report_.head.size;
    for (uint64_t n = 0; n * kTileWidth < size; ++n) {
      FAIRWAY_ASSIGN(const bool sound, bundle(n));
      if (!sound) return false;
      if (options_.progress) options_.progress(report_.checked, size);
    }
    for (unsigned level = 0; level < kMaxTileLevels; ++level) {
      if (derived_[level].empty()) continue;
      FAIRWAY_ASSIGN(const bool sound, compare_tile(level));
      if (!sound) return false;
    }
    if (frontier_.root() != report_.head.root) {
      return found(directory_ + "/" + kCheckpointName,
                   "the entries and tiles agree, but the root signed is another one", std::nullopt);
    }
    return true;
  }

 private:
  bool found(std::string where, std::string what, std::optional<uint64_t> entry) {
    report_.finding = FsckFinding{std::move(where), std::move(what), entry};
    return false;
  }

  /// An unreadable file is a finding, a failing disk is an error.
  Result<bool> unreadable(const Error& error, uint64_t entry) {
    if (error.code == Errc::kIo) return error;
    return found(error.where, error.what, entry);
  }

  /// Hashes the entries of one bundle and compares them with their tile, one by one, so that the first bad one is named
  /// even if the framing behind it is lost.
  Result<bool> bundle(uint64_t n) {
    const unsigned width = tile_width(0, n, report_.head.size);
    const uint64_t first = n * kTileWidth;
    const std::string name = store_.bundle_file(n);
    const auto bytes = store_.bundle(n);
    if (!bytes) return unreadable(bytes.error(), first);
    const auto stored = store_.tile(0, n);
    if (!stored) return unreadable(stored.error(), first);
    BundleReader reader(*bytes, name);
    std::array<size_t, kTileWidth> ends{};
    for (unsigned i = 0; i < width; ++i) {
      const size_t offset = reader.offset();
      const auto entry = reader.next();
      if (!entry) return unreadable(entry.error(), first + i);
      if (!*entry)
        return found(name, fmt::format("a bundle of the wrong width: {} entries where {} belong", i, width), first + i);
      const Digest leaf = leaf_hash(**entry);
      if (leaf != (*stored)[i]) return disagreement(n, i, offset);
      if (options_.check_entry) {
        const Status status = options_.check_entry(first + i, **entry);
        if (!status) return found(fmt::format("{} @ {:#x}", name, offset), status.error().what, first + i);
      }
      ends[i] = reader.offset();
      FAIRWAY_ASSIGN(const bool sound, add(leaf));
      if (!sound) return false;
    }
    if (reader.offset() != bytes->size()) {
      return found(fmt::format("{} @ {:#x}", name, reader.offset()),
                   fmt::format("a bundle of the wrong width: more than {} entries", width), first + width - 1);
    }
    return compare_partials(bundle_path(n, kTileWidth), *bytes, width, first, [&](unsigned i) { return ends[i - 1]; });
  }

  /// Entry and tile differ: the root tells which of them is the damaged one.
  Result<bool> disagreement(uint64_t n, unsigned i, size_t offset) {
    const uint64_t entry = n * kTileWidth + i;
    TileStore leaves(directory_, report_.head.size, system_);
    Frontier by_tiles;
    for (uint64_t t = 0; t * kTileWidth < report_.head.size; ++t) {
      const auto hashes = leaves.tile(0, t);
      if (!hashes) break;
      for (const Digest& hash : *hashes) by_tiles.append(hash);
    }
    if (by_tiles.root() == report_.head.root) {
      return found(fmt::format("{} @ {:#x}", store_.bundle_file(n), offset),
                   fmt::format("entry {} is not the one that was logged", entry), entry);
    }
    return found(fmt::format("{} @ {:#x}", store_.tile_file(0, n), i * sizeof(Digest)),
                 fmt::format("the tile or entry {} is damaged: the hash is not that of the entry", entry), entry);
  }

  /// Adds a leaf to the derived tree and compares every tile that becomes full.
  Result<bool> add(const Digest& leaf) {
    std::array<unsigned, kMaxTileLevels> full{};
    size_t full_count = 0;
    frontier_.append(leaf, [&](unsigned level, const Digest& hash) {
      if (level % kTileHeight != 0) return;
      auto& tile = derived_[level / kTileHeight];
      tile.push_back(hash);
      if (tile.size() == kTileWidth) full[full_count++] = level / kTileHeight;
    });
    ++report_.checked;
    for (size_t i = 0; i < full_count; ++i) {
      FAIRWAY_ASSIGN(const bool sound, compare_tile(full[i]));
      if (!sound) return false;
    }
    return true;
  }

  Result<bool> compare_tile(unsigned level) {
    std::vector<Digest>& derived = derived_[level];
    const auto width = static_cast<unsigned>(derived.size());
    const uint64_t hashes = frontier_.size() >> (kTileHeight * level);
    const uint64_t index = (hashes - 1) / kTileWidth;
    const auto first_entry = [&](size_t i) { return (index * kTileWidth + i) << (kTileHeight * level); };
    const auto stored = store_.tile(level, index);
    if (!stored) return unreadable(stored.error(), first_entry(0));
    for (unsigned i = 0; i < width; ++i) {
      if ((*stored)[i] == derived[i]) continue;
      return found(
          fmt::format("{} @ {:#x}", store_.tile_file(level, index), i * sizeof(Digest)),
          fmt::format("the tile is damaged: hash {} is not that of entries {} and following", i, first_entry(i)),
          first_entry(i));
    }
    FAIRWAY_ASSIGN(const bool sound, compare_partials(tile_path(level, index, kTileWidth), encode_tile(derived), width,
                                                      first_entry(0), [](unsigned i) { return i * sizeof(Digest); }));
    derived.clear();
    return sound;
  }

  /// Partial files of smaller trees that are still there must begin like the whole. Files of more entries than the tree
  /// has come from an append that was cut off; no checkpoint names them.
  template <class SizeOf>
  Result<bool> compare_partials(const std::string& full_name, std::string_view whole, unsigned width,
                                uint64_t first_entry, const SizeOf& size_of) {
    std::error_code error;
    for (const auto& file : fs::directory_iterator(directory_ + "/" + full_name + ".p", error)) {
      const std::string path = file.path().string(), digits = file.path().filename().string();
      unsigned count = 0;
      const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
      if (problem != std::errc() || end != digits.data() + digits.size() || count == 0 || count > width) continue;
      const auto bytes = read_text(path, kMaxBundleBytes, system_);
      if (!bytes) return unreadable(bytes.error(), first_entry);
      if (*bytes != whole.substr(0, size_of(count))) {
        return found(path, "a partial tile or bundle of an earlier checkpoint is damaged", first_entry);
      }
    }
    return true;
  }

  std::string directory_;
  const FsckOptions& options_;
  FileSystem& system_;
  FsckReport& report_;
  TileStore store_;
  Frontier frontier_;
  std::array<std::vector<Digest>, kMaxTileLevels> derived_;
};

}  // namespace

Result<FsckReport> fsck(const std::string& directory, const Policy& policy, const FsckOptions& options,
                        FileSystem& system) {
  FAIRWAY_ASSIGN(const Checkpoint checkpoint, read_checkpoint(directory, system));
  FsckReport report;
  report.head = checkpoint.head;
  const std::string where = directory + "/" + kCheckpointName;
  const auto trust = check_policy(policy, checkpoint, where);
  if (!trust) {
    if (trust.error().code != Errc::kDisproved) return trust.error();
    report.finding = FsckFinding{where, trust.error().what, std::nullopt};
    return report;
  }
  FAIRWAY_ASSIGN(const bool sound, Fsck(directory, options, system, report).run());
  FAIRWAY_CHECK(sound == !report.finding);
  return report;
}

}  // namespace fairway::ledger

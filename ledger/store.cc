#include "ledger/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

namespace fairway::ledger {
namespace {

constexpr uint64_t kFirstPieceBytes = 16384;

}  // namespace

Result<std::string> read_text(const std::string& path, uint64_t max_bytes, FileSystem& system) {
  FAIRWAY_ASSIGN(InputFile file, InputFile::open(path, system));
  // Most files here are small, and a log has many: the buffer starts small and doubles. One byte beyond the bound tells
  // a file of that size from a larger one.
  std::string text;
  for (uint64_t piece = kFirstPieceBytes;; piece *= 2) {
    const size_t old_size = text.size();
    const size_t want = static_cast<size_t>(std::min(piece, max_bytes + 1 - old_size));
    text.resize(old_size + want);
    FAIRWAY_ASSIGN(const size_t count, file.read(std::as_writable_bytes(std::span(text).subspan(old_size))));
    text.resize(old_size + count);
    if (text.size() > max_bytes) {
      return Error{Errc::kData, path, fmt::format("is larger than the {} bytes allowed here", max_bytes)};
    }
    if (count < want) return text;
  }
}

Result<Checkpoint> read_checkpoint(const std::string& directory, FileSystem& system) {
  const std::string path = directory + "/" + kCheckpointName;
  FAIRWAY_ASSIGN(const auto text, read_text(path, kMaxNoteBytes, system));
  return parse_checkpoint(text, path);
}

std::string TileStore::tile_file(unsigned level, uint64_t index) const {
  return directory_ + "/" + tile_path(level, index, tile_width(level, index, size_));
}

std::string TileStore::bundle_file(uint64_t index) const {
  return directory_ + "/" + bundle_path(index, tile_width(0, index, size_));
}

Result<std::vector<Digest>> TileStore::tile(unsigned level, uint64_t index) {
  const unsigned width = tile_width(level, index, size_);
  FAIRWAY_CHECK(width > 0);
  const std::string path = tile_file(level, index);
  auto bytes = read_text(path, kTileWidth * sizeof(Digest), *system_);
  if (!bytes && bytes.error().code == Errc::kNoInput && width < kTileWidth) {
    const std::string full_path = directory_ + "/" + tile_path(level, index, kTileWidth);
    auto full = read_text(full_path, kTileWidth * sizeof(Digest), *system_);
    if (!full) return bytes.error();
    FAIRWAY_ASSIGN(auto hashes, decode_tile(*full, kTileWidth, full_path));
    hashes.resize(width);
    return hashes;
  }
  if (!bytes) return bytes.error();
  return decode_tile(*bytes, width, path);
}

Result<std::string> TileStore::bundle(uint64_t index) {
  const unsigned width = tile_width(0, index, size_);
  FAIRWAY_CHECK(width > 0);
  auto bytes = read_text(bundle_file(index), kMaxBundleBytes, *system_);
  if (bytes || bytes.error().code != Errc::kNoInput || width == kTileWidth) return bytes;
  const std::string full_path = directory_ + "/" + bundle_path(index, kTileWidth);
  auto full = read_text(full_path, kMaxBundleBytes, *system_);
  if (!full) return bytes.error();
  BundleReader reader(*full, full_path);
  for (unsigned i = 0; i < width; ++i) {
    FAIRWAY_ASSIGN(const auto entry, reader.next());
    if (!entry) return Error{Errc::kData, full_path, "a bundle of the wrong width"};
  }
  full->resize(reader.offset());
  return full;
}

Result<std::string> TileStore::entry(uint64_t index) {
  FAIRWAY_CHECK(index < size_);
  const uint64_t n = index / kTileWidth;
  FAIRWAY_ASSIGN(const auto bytes, bundle(n));
  FAIRWAY_ASSIGN(const auto entries, decode_bundle(bytes, tile_width(0, n, size_), bundle_file(n)));
  return std::string(entries[index % kTileWidth]);
}

Result<Digest> TileStore::node(unsigned level, uint64_t index) {
  const unsigned tile_level = level / kTileHeight, height = level % kTileHeight;
  FAIRWAY_CHECK(tile_level < kMaxTileLevels);
  const uint64_t first = index << height;  // of the node's hashes in its tile level
  const uint64_t tile_index = first / kTileWidth;
  Cached& cached = cache_[tile_level];
  if (cached.hashes.empty() || cached.index != tile_index) {
    FAIRWAY_ASSIGN(cached.hashes, tile(tile_level, tile_index));
    cached.index = tile_index;
  }
  const size_t begin = first % kTileWidth, count = size_t{1} << height;
  FAIRWAY_CHECK(begin + count <= cached.hashes.size());
  std::array<Digest, kTileWidth / 2> row;  // height is at most 7
  std::copy_n(cached.hashes.begin() + static_cast<ptrdiff_t>(begin), count, row.begin());
  for (size_t width = count; width > 1; width /= 2) {
    for (size_t i = 0; i < width / 2; ++i) row[i] = node_hash(row[2 * i], row[2 * i + 1]);
  }
  return row[0];
}

}  // namespace fairway::ledger

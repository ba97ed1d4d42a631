/// The files of a log as C2SP tlog-tiles names and fills them: hash tiles and entry bundles, 256 wide.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "engine/base/sha256.h"

namespace fairway::ledger {

inline constexpr unsigned kTileHeight = 8;
inline constexpr unsigned kTileWidth = 1u << kTileHeight;
/// An entry's length is a 16-bit number in its bundle.
inline constexpr size_t kMaxEntryBytes = 65535;
inline constexpr size_t kMaxBundleBytes = kTileWidth * (2 + kMaxEntryBytes);
/// tlog-tiles knows levels 0 to 63, but a size of 64 bits fills no more than eight.
inline constexpr unsigned kMaxTileLevels = 8;

/// Hashes of the tile (level, index) in a tree of `size` entries: 0 (there is no such tile) to 256.
unsigned tile_width(unsigned level, uint64_t index, uint64_t size);

/// "tile/0/x001/x234/067", and "tile/0/000.p/5" for a width below 256. Needs 1 <= width <= 256.
std::string tile_path(unsigned level, uint64_t index, unsigned width);
/// "tile/entries/x001/x234/067.p/5", likewise.
std::string bundle_path(uint64_t index, unsigned width);

/// The bytes of a tile: its hashes one after the other.
std::string encode_tile(std::span<const Digest> hashes);
/// kData unless `bytes` holds exactly `width` hashes; `name` is the file for the error.
Result<std::vector<Digest>> decode_tile(std::string_view bytes, unsigned width, const std::string& name);

/// Adds one entry (at most kMaxEntryBytes) to a bundle: big-endian 16-bit length, then the bytes.
void append_to_bundle(std::string& bundle, std::string_view entry);

/// Reads a bundle from front to back; the bytes must outlive what next() returns.
class BundleReader {
 public:
  BundleReader(std::string_view bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {}
  /// The next entry; nothing at the end; kData with the offset where a length or its entry is cut off.
  Result<std::optional<std::string_view>> next();
  size_t offset() const { return offset_; }

 private:
  std::string_view bytes_;
  std::string name_;
  size_t offset_ = 0;
};

/// All `width` entries of a bundle; kData if there are more or fewer, or if one is cut off.
Result<std::vector<std::string_view>> decode_bundle(std::string_view bytes, unsigned width, const std::string& name);

}  // namespace fairway::ledger

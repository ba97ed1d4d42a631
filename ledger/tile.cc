#include "ledger/tile.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace fairway::ledger {
namespace {

/// "x001/x234/067.p/5": groups of three digits keep every folder below 3,000 names.
std::string numbered(std::string prefix, uint64_t index, unsigned width) {
  FAIRWAY_CHECK(width >= 1 && width <= kTileWidth);
  std::string digits = fmt::format("{:03}", index % 1000);
  for (uint64_t rest = index / 1000; rest != 0; rest /= 1000) digits = fmt::format("x{:03}/", rest % 1000) + digits;
  prefix += digits;
  if (width < kTileWidth) prefix += fmt::format(".p/{}", width);
  return prefix;
}

}  // namespace

unsigned tile_width(unsigned level, uint64_t index, uint64_t size) {
  FAIRWAY_CHECK(level < kMaxTileLevels);
  const uint64_t hashes = size >> (kTileHeight * level);
  if (hashes >> kTileHeight > index) return kTileWidth;
  return hashes >> kTileHeight == index ? static_cast<unsigned>(hashes % kTileWidth) : 0;
}

std::string tile_path(unsigned level, uint64_t index, unsigned width) {
  return numbered(fmt::format("tile/{}/", level), index, width);
}

std::string bundle_path(uint64_t index, unsigned width) { return numbered("tile/entries/", index, width); }

std::string encode_tile(std::span<const Digest> hashes) {
  const auto bytes = std::as_bytes(hashes);
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<std::vector<Digest>> decode_tile(std::string_view bytes, unsigned width, const std::string& name) {
  if (bytes.size() != width * sizeof(Digest)) {
    return Error{Errc::kData, name,
                 fmt::format("a tile of the wrong width: {} bytes where {} hashes take {}", bytes.size(), width,
                             width * sizeof(Digest))};
  }
  std::vector<Digest> hashes(width);
  std::memcpy(hashes.data(), bytes.data(), bytes.size());
  return hashes;
}

void append_to_bundle(std::string& bundle, std::string_view entry) {
  FAIRWAY_CHECK(entry.size() <= kMaxEntryBytes);
  bundle += static_cast<char>(entry.size() >> 8);
  bundle += static_cast<char>(entry.size() & 0xff);
  bundle += entry;
}

Result<std::optional<std::string_view>> BundleReader::next() {
  if (offset_ == bytes_.size()) return std::optional<std::string_view>();
  const size_t left = bytes_.size() - offset_;
  const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<uint8_t>(bytes_[offset_ + i])); };
  const size_t length = left < 2 ? 0 : byte(0) << 8 | byte(1);
  if (left < 2 + length) {
    return Error{Errc::kData, fmt::format("{} @ {:#x}", name_, offset_),
                 "an entry is cut off at the end of its bundle"};
  }
  const std::string_view entry = bytes_.substr(offset_ + 2, length);
  offset_ += 2 + length;
  return std::optional<std::string_view>(entry);
}

Result<std::vector<std::string_view>> decode_bundle(std::string_view bytes, unsigned width, const std::string& name) {
  BundleReader reader(bytes, name);
  std::vector<std::string_view> entries;
  for (;;) {
    FAIRWAY_ASSIGN(const auto entry, reader.next());
    if (!entry) break;
    if (entries.size() == width) {
      return Error{Errc::kData, fmt::format("{} @ {:#x}", name, reader.offset() - 2 - entry->size()),
                   fmt::format("a bundle of the wrong width: more than {} entries", width)};
    }
    entries.push_back(*entry);
  }
  if (entries.size() != width) {
    return Error{Errc::kData, name,
                 fmt::format("a bundle of the wrong width: {} entries where {} belong", entries.size(), width)};
  }
  return entries;
}

}  // namespace fairway::ledger

/// Little-endian loads and stores at any alignment, byte by byte, so a big-endian host gives the same files.
///
/// Every function touches exactly sizeof(value) bytes at `p`; bounds are the caller's. All are constexpr and, being
/// made of shifts, free of aliasing and alignment trouble; compilers turn each into one move.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace fairway {

constexpr uint16_t load_le16(const std::byte* p) {
  return static_cast<uint16_t>(std::to_integer<uint32_t>(p[0]) | std::to_integer<uint32_t>(p[1]) << 8);
}

constexpr uint32_t load_le32(const std::byte* p) {
  return static_cast<uint32_t>(load_le16(p)) | static_cast<uint32_t>(load_le16(p + 2)) << 16;
}

constexpr uint64_t load_le64(const std::byte* p) {
  return static_cast<uint64_t>(load_le32(p)) | static_cast<uint64_t>(load_le32(p + 4)) << 32;
}

/// The bits are kept, NaN payloads included.
constexpr float load_le_f32(const std::byte* p) { return std::bit_cast<float>(load_le32(p)); }

constexpr void store_le16(std::byte* p, uint16_t value) {
  p[0] = static_cast<std::byte>(value & 0xff);
  p[1] = static_cast<std::byte>(value >> 8);
}

constexpr void store_le32(std::byte* p, uint32_t value) {
  store_le16(p, static_cast<uint16_t>(value & 0xffff));
  store_le16(p + 2, static_cast<uint16_t>(value >> 16));
}

constexpr void store_le64(std::byte* p, uint64_t value) {
  store_le32(p, static_cast<uint32_t>(value & 0xffffffff));
  store_le32(p + 4, static_cast<uint32_t>(value >> 32));
}

constexpr void store_le_f32(std::byte* p, float value) { store_le32(p, std::bit_cast<uint32_t>(value)); }

}  // namespace fairway

/// SHA-256 (FIPS 180-4, through OpenSSL) and Merkle tree roots in the shape of RFC 6962.
///
/// These digests are identities: replay records and ledger entries name things by them. Nothing here is keyed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/file.h"
#include "engine/base/result.h"

namespace fairway {

using Digest = std::array<uint8_t, 32>;

/// 64 lower-case hexadecimal digits.
std::string hex(const Digest& digest);
/// The inverse of hex(); nothing unless `text` is 64 digits 0-9, a-f.
std::optional<Digest> digest_from_hex(std::string_view text);

/// A running digest. After finish() the object is empty again and may be used for the next message.
class Sha256 {
 public:
  Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;
  ~Sha256();
  void update(std::span<const std::byte> bytes);
  void update(const void* data, size_t size_bytes);
  Digest finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

Digest sha256(std::span<const std::byte> bytes);
Digest sha256(std::string_view bytes);

/// Digest of a file's content, read in pieces of 1 MiB. kNoInput if it cannot be opened, kIo if a read fails.
Result<Digest> sha256_file(const std::string& path, FileSystem& system = FileSystem::real());

/// Leaf hash of RFC 6962, section 2.1: SHA-256(0x00 || data).
Digest merkle_leaf(std::span<const std::byte> data);

/// Merkle tree hash of RFC 6962, section 2.1, over *leaf hashes* (see merkle_leaf).
///
/// Empty: SHA-256 of the empty string. One leaf: that leaf. Otherwise SHA-256(0x01 || left || right), where left covers
/// the first k leaves and k is the largest power of two below the count.
Digest merkle_root(std::span<const Digest> leaves);

}  // namespace fairway

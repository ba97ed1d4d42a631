/// Compression of a container into the model file that counts towards the size limit.
///
/// Compressed bytes are not numerics (kernels/NUMERICS.md, N11): they change between versions of a library, so the
/// identity of an artifact is the digest of what it decompresses to, and a codec is reported with its version and the
/// digest of a known answer. One thread, one stream, no dictionary.
///
///   zlib  RFC 1950 stream, window 2^15, memory level 8, default strategy; ends in an Adler-32
///   zstd  RFC 8878, exactly one frame, content size and content checksum present, no dictionary, no skippable frame
///   xz    .xz format, one stream, LZMA2, CRC-64
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/base/sha256.h"

namespace fairway::quant {

enum class Codec : uint8_t { kZlib, kZstd, kXz };

/// Codec and level as a config spells them: "zlib-9", "zstd-22".
struct CodecSetting {
  Codec codec = Codec::kZlib;
  int level = 9;
  bool operator==(const CodecSetting&) const = default;
};

/// Settings of published records.
constexpr CodecSetting kZlib9{Codec::kZlib, 9};
constexpr CodecSetting kZstd22{Codec::kZstd, 22};
constexpr CodecSetting kXz6{Codec::kXz, 6};

/// "zlib-9"
std::string codec_name(CodecSetting setting);
/// The inverse, for zlib-1 to zlib-9, zstd-1 to zstd-22 and xz-0 to xz-9. Error kUsage otherwise.
Result<CodecSetting> codec_by_name(const std::string& name);

/// The compressed stream. High levels take minutes: a terminal sees the progress, and an interrupt ends the work between
/// two blocks. Errors: kInterrupted; kInternal if the library fails (it can only run out of memory).
Result<std::vector<std::byte>> compress(CodecSetting setting, std::span<const std::byte> bytes);

/// Decompresses a stream that must hold exactly `exact_size` bytes and nothing after its end.
///
/// Allocates exact_size plus a small constant, whatever the input claims: a stream that holds more, ends early, fails
/// its checksum, needs a dictionary, or is followed by other bytes is an Error kData. `where` starts the message.
Result<std::vector<std::byte>> decompress(Codec codec, std::span<const std::byte> compressed, uint64_t exact_size,
                                          const std::string& where);

/// The codec whose stream begins like this; nothing if none does.
std::optional<Codec> detect_codec(std::span<const std::byte> compressed);

/// Decompresses a stream of foreign origin that holds at most `max_size` bytes; a zstd frame may lack its checksum here.
/// Memory: max_size plus what the decoder needs, at most 160 MiB. Errors as decompress.
Result<std::vector<std::byte>> decompress_at_most(Codec codec, std::span<const std::byte> compressed, uint64_t max_size,
                                                  const std::string& where);

/// What is recorded beside compressed bytes.
struct CodecIdentity {
  std::string name;     ///< "zstd-22"
  std::string version;  ///< of the library at run time, "1.5.4"
  Digest known_answer;  ///< SHA-256 of compress(setting, codec_known_input())
};
Result<CodecIdentity> codec_identity(CodecSetting setting);

/// The fixed input of the known answer, 65,536 bytes: state_0 = 1, state_{i+1} = (1103515245 * state_i + 12345) mod
/// 2^31, byte i = popcount(bits 8 to 30 of state_{i+1}) - 11 in two's complement: small integers around zero, like
/// weights.
std::vector<std::byte> codec_known_input();

}  // namespace fairway::quant

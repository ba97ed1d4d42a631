#include "engine/quant/codec.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <memory>

#include "engine/base/check.h"
#include "engine/base/endian.h"

namespace fairway::quant {
namespace {

constexpr uint32_t kZstdMagic = 0xfd2fb528;
constexpr int kZlibMemoryLevel = 8;
// No stream holds more than this per compressed byte: deflate spends 2 bits on 258 bytes at best, zstd 4 bytes on a
// block of 128 KiB. A size beyond it is refused before memory is asked for.
constexpr uint64_t kZlibMaxExpansion = 1032;
constexpr uint64_t kZstdMaxExpansion = 32768;

Error unusable(const std::string& where, std::string what) { return Error{Errc::kData, where, std::move(what)}; }

// zlib counts in 32 bits: feeds or drains at most this much at a time.
uInt zlib_piece(size_t size) { return static_cast<uInt>(std::min<size_t>(size, std::numeric_limits<uInt>::max())); }

// zlib takes a pointer to non-const bytes but does not write through it.
Bytef* zlib_input(const std::byte* bytes) { return reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes)); }

Result<std::vector<std::byte>> compress_zlib(int level, std::span<const std::byte> bytes) {
  z_stream stream{};
  if (deflateInit2(&stream, level, Z_DEFLATED, MAX_WBITS, kZlibMemoryLevel, Z_DEFAULT_STRATEGY) != Z_OK) {
    return Error{Errc::kInternal, "zlib", "cannot start compression (out of memory?)"};
  }
  std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, deflateEnd);
  std::vector<std::byte> out(deflateBound(&stream, bytes.size()));
  size_t read = 0;
  size_t written = 0;
  int status = Z_OK;
  while (status == Z_OK) {
    uInt input = zlib_piece(bytes.size() - read);
    uInt output = zlib_piece(out.size() - written);
    stream.next_in = zlib_input(bytes.data() + read);
    stream.avail_in = input;
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + written);
    stream.avail_out = output;
    status = deflate(&stream, read + input == bytes.size() ? Z_FINISH : Z_NO_FLUSH);
    read += input - stream.avail_in;
    written += output - stream.avail_out;
  }
  if (status != Z_STREAM_END) return Error{Errc::kInternal, "zlib", fmt::format("compression failed ({})", status)};
  out.resize(written);
  return out;
}

Result<std::vector<std::byte>> decompress_zlib(std::span<const std::byte> compressed, uint64_t exact_size,
                                               const std::string& where) {
  if (exact_size / kZlibMaxExpansion > compressed.size()) {
    return unusable(where,
                    fmt::format("{} compressed bytes cannot hold the {} expected", compressed.size(), exact_size));
  }
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK)
    return Error{Errc::kInternal, "zlib", "cannot start decompression (out of memory?)"};
  std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  // One byte more than allowed makes room to see that a stream holds too much, and gives zlib somewhere to point at.
  std::vector<std::byte> out(exact_size + 1);
  size_t read = 0;
  size_t written = 0;
  int status = Z_OK;
  while (status == Z_OK) {
    uInt input = zlib_piece(compressed.size() - read);
    uInt output = zlib_piece(out.size() - written);
    stream.next_in = zlib_input(compressed.data() + read);
    stream.avail_in = input;
    stream.next_out = reinterpret_cast<Bytef*>(out.data() + written);
    stream.avail_out = output;
    status = inflate(&stream, Z_NO_FLUSH);
    read += input - stream.avail_in;
    written += output - stream.avail_out;
    if (written > exact_size) {
      return unusable(where, fmt::format("decompresses to more than the {} bytes expected", exact_size));
    }
  }
  if (status == Z_BUF_ERROR)
    return unusable(where, fmt::format("truncated: the zlib stream does not end in {} bytes", read));
  if (status == Z_NEED_DICT) return unusable(where, "the zlib stream needs a dictionary; none is allowed");
  if (status != Z_STREAM_END) {
    return unusable(where, fmt::format("corrupt zlib stream near byte {} ({})", read,
                                       stream.msg != nullptr ? stream.msg : "no reason given"));
  }
  if (read != compressed.size()) {
    return unusable(where, fmt::format("{} bytes follow the end of the zlib stream", compressed.size() - read));
  }
  if (written != exact_size) {
    return unusable(where, fmt::format("decompresses to {} bytes instead of {}", written, exact_size));
  }
  out.resize(exact_size);
  return out;
}

Result<std::vector<std::byte>> compress_zstd(int level, std::span<const std::byte> bytes) {
  std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  if (context == nullptr) return Error{Errc::kInternal, "zstd", "cannot start compression (out of memory?)"};
  for (auto [parameter, value] : {std::pair{ZSTD_c_compressionLevel, level}, std::pair{ZSTD_c_checksumFlag, 1},
                                  std::pair{ZSTD_c_contentSizeFlag, 1}}) {
    size_t status = ZSTD_CCtx_setParameter(context.get(), parameter, value);
    FAIRWAY_CHECK(!ZSTD_isError(status));
  }
  std::vector<std::byte> out(ZSTD_compressBound(bytes.size()));
  size_t written = ZSTD_compress2(context.get(), out.data(), out.size(), bytes.data(), bytes.size());
  if (ZSTD_isError(written)) {
    return Error{Errc::kInternal, "zstd", fmt::format("compression failed ({})", ZSTD_getErrorName(written))};
  }
  out.resize(written);
  return out;
}

Result<std::vector<std::byte>> decompress_zstd(std::span<const std::byte> compressed, uint64_t exact_size,
                                               const std::string& where) {
  // The frame header is judged before anything is allocated; a skippable frame has another magic number.
  if (compressed.size() < 5 || load_le32(compressed.data()) != kZstdMagic) {
    return unusable(where, "not a zstd frame");
  }
  unsigned descriptor = std::to_integer<unsigned>(compressed[4]);
  if ((descriptor & 4u) == 0) return unusable(where, "the zstd frame has no content checksum; write it with one");
  if ((descriptor & 3u) != 0) return unusable(where, "the zstd frame names a dictionary; none is allowed");
  unsigned long long claimed = ZSTD_getFrameContentSize(compressed.data(), compressed.size());
  if (claimed == ZSTD_CONTENTSIZE_ERROR) return unusable(where, "truncated or corrupt zstd frame header");
  if (claimed == ZSTD_CONTENTSIZE_UNKNOWN) return unusable(where, "the zstd frame does not state its content size");
  if (claimed != exact_size) {
    return unusable(where, fmt::format("the zstd frame claims {} bytes instead of {}", claimed, exact_size));
  }
  if (exact_size / kZstdMaxExpansion > compressed.size()) {
    return unusable(where,
                    fmt::format("{} compressed bytes cannot hold the {} expected", compressed.size(), exact_size));
  }
  size_t frame = ZSTD_findFrameCompressedSize(compressed.data(), compressed.size());
  if (ZSTD_isError(frame)) {
    return unusable(where, fmt::format("truncated or corrupt zstd frame ({})", ZSTD_getErrorName(frame)));
  }
  if (frame != compressed.size()) {
    return unusable(where, fmt::format("{} bytes follow the end of the zstd frame", compressed.size() - frame));
  }
  std::unique_ptr<ZSTD_DCtx, size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
  if (context == nullptr) return Error{Errc::kInternal, "zstd", "cannot start decompression (out of memory?)"};
  // Decompressing straight into the final buffer needs no window, however large a window the frame asks for.
  std::vector<std::byte> out(exact_size);
  size_t written = ZSTD_decompressDCtx(context.get(), out.data(), out.size(), compressed.data(), compressed.size());
  if (ZSTD_isError(written)) {
    return unusable(where, fmt::format("corrupt zstd frame ({})", ZSTD_getErrorName(written)));
  }
  if (written != exact_size) {
    return unusable(where, fmt::format("decompresses to {} bytes instead of {}", written, exact_size));
  }
  return out;
}

}  // namespace

std::string codec_name(CodecSetting setting) {
  return fmt::format("{}-{}", setting.codec == Codec::kZlib ? "zlib" : "zstd", setting.level);
}

Result<CodecSetting> codec_by_name(const std::string& name) {
  for (auto [codec, last_level] : {std::pair{Codec::kZlib, 9}, std::pair{Codec::kZstd, 22}}) {
    for (int level = 1; level <= last_level; ++level) {
      if (codec_name({codec, level}) == name) return CodecSetting{codec, level};
    }
  }
  return Error{Errc::kUsage, "codec", "unknown codec; use zlib-1 to zlib-9 or zstd-1 to zstd-22"};
}

Result<std::vector<std::byte>> compress(CodecSetting setting, std::span<const std::byte> bytes) {
  return setting.codec == Codec::kZlib ? compress_zlib(setting.level, bytes) : compress_zstd(setting.level, bytes);
}

Result<std::vector<std::byte>> decompress(Codec codec, std::span<const std::byte> compressed, uint64_t exact_size,
                                          const std::string& where) {
  return codec == Codec::kZlib ? decompress_zlib(compressed, exact_size, where)
                               : decompress_zstd(compressed, exact_size, where);
}

Result<CodecIdentity> codec_identity(CodecSetting setting) {
  FAIRWAY_ASSIGN(std::vector<std::byte> answer, compress(setting, codec_known_input()));
  return CodecIdentity{codec_name(setting), setting.codec == Codec::kZlib ? zlibVersion() : ZSTD_versionString(),
                       sha256(answer)};
}

std::vector<std::byte> codec_known_input() {
  std::vector<std::byte> input(65536);
  uint32_t state = 1;
  for (std::byte& b : input) {
    state = (1103515245u * state + 12345u) & 0x7fffffffu;
    b = static_cast<std::byte>(static_cast<uint8_t>(std::popcount(state >> 8) - 11));
  }
  return input;
}

}  // namespace fairway::quant

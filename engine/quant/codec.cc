#include "engine/quant/codec.h"

#include <fmt/format.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <memory>

#include "engine/base/check.h"
#include "engine/base/endian.h"
#include "engine/base/interrupt.h"
#include "engine/base/progress.h"

namespace fairway::quant {
namespace {

constexpr uint32_t kZstdMagic = 0xfd2fb528;
constexpr int kZlibMemoryLevel = 8;
// No stream holds more than this per compressed byte: deflate spends 2 bits on 258 bytes at best, zstd 4 bytes on a
// block of 128 KiB. A size beyond it is refused before memory is asked for.
constexpr uint64_t kZlibMaxExpansion = 1032;
constexpr uint64_t kZstdMaxExpansion = 32768;
constexpr uint64_t kXzMaxExpansion = 32768;
// ".xz" files begin with fd 37 7a 58 5a 00. Preset 9 needs 65 MiB to decompress.
constexpr uint32_t kXzMagic = 0x587a37fd;
constexpr uint16_t kXzMagicEnd = 0x005a;
constexpr uint64_t kXzMemoryBytes = 128 << 20;

Error unusable(const std::string& where, std::string what) { return Error{Errc::kData, where, std::move(what)}; }

// zlib counts in 32 bits: feeds or drains at most this much at a time.
uInt zlib_piece(size_t size) { return static_cast<uInt>(std::min<size_t>(size, std::numeric_limits<uInt>::max())); }

// zlib takes a pointer to non-const bytes but does not write through it.
Bytef* zlib_input(const std::byte* bytes) { return reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes)); }

// Where compressed or decompressed bytes go: grows up to `most`, one byte beyond which shows that a stream holds too much.
class Sink {
 public:
  Sink(uint64_t first, uint64_t most) : most_(most), bytes_(std::min(first, most) + 1) {}

  /// Room for the next bytes; none once more than `most` have come.
  std::span<std::byte> room() {
    if (written_ == bytes_.size() && written_ <= most_) bytes_.resize(std::min<uint64_t>(2 * bytes_.size(), most_ + 1));
    return std::span(bytes_).subspan(written_);
  }
  void add(size_t count) { written_ += count; }
  uint64_t written() const { return written_; }
  bool overfull() const { return written_ > most_; }
  std::vector<std::byte> take() {
    bytes_.resize(written_);
    return std::move(bytes_);
  }

 private:
  uint64_t most_;
  std::vector<std::byte> bytes_;
  size_t written_ = 0;
};

// Hands out the input in pieces, shows how far it is, and sees interrupts.
class Source {
 public:
  explicit Source(std::span<const std::byte> bytes, const std::string& label)
      : bytes_(bytes), progress_(label, bytes.size(), "B") {}

  Status next() {
    if (interrupted()) return Error{Errc::kInterrupted, "", "interrupted while compressing; nothing was written"};
    progress_.update(read_);
    piece_ = bytes_.subspan(read_, std::min(kPieceBytes, bytes_.size() - read_));
    read_ += piece_.size();
    return {};
  }
  std::span<const std::byte> piece() const { return piece_; }
  bool last() const { return read_ == bytes_.size(); }

 private:
  // One block of zstd, which takes about a second at the highest level.
  static constexpr size_t kPieceBytes = 128 * 1024;
  std::span<const std::byte> bytes_, piece_;
  size_t read_ = 0;
  Progress progress_;
};

constexpr uint64_t kNoLimit = uint64_t{1} << 62;

Result<std::vector<std::byte>> compress_zlib(int level, std::span<const std::byte> bytes, Source& source) {
  z_stream stream{};
  if (deflateInit2(&stream, level, Z_DEFLATED, MAX_WBITS, kZlibMemoryLevel, Z_DEFAULT_STRATEGY) != Z_OK) {
    return Error{Errc::kInternal, "zlib", "cannot start compression (out of memory?)"};
  }
  std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, deflateEnd);
  Sink sink(deflateBound(&stream, bytes.size()), kNoLimit);
  int status = Z_OK;
  while (status == Z_OK) {
    FAIRWAY_TRY(source.next());
    stream.next_in = zlib_input(source.piece().data());
    stream.avail_in = static_cast<uInt>(source.piece().size());
    do {
      std::span<std::byte> room = sink.room();
      const uInt offered = zlib_piece(room.size());
      stream.next_out = reinterpret_cast<Bytef*>(room.data());
      stream.avail_out = offered;
      status = deflate(&stream, source.last() ? Z_FINISH : Z_NO_FLUSH);
      sink.add(offered - stream.avail_out);
      if (status == Z_BUF_ERROR) status = Z_OK;  // a call that had nothing left to do
    } while (status == Z_OK && (stream.avail_out == 0 || source.last()));
  }
  if (status != Z_STREAM_END) return Error{Errc::kInternal, "zlib", fmt::format("compression failed ({})", status)};
  return sink.take();
}

Result<std::vector<std::byte>> decompress_zlib(std::span<const std::byte> compressed, Sink& sink,
                                               const std::string& where) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK)
    return Error{Errc::kInternal, "zlib", "cannot start decompression (out of memory?)"};
  std::unique_ptr<z_stream, int (*)(z_stream*)> guard(&stream, inflateEnd);
  size_t read = 0;
  int status = Z_OK;
  while (status == Z_OK) {
    const uInt input = zlib_piece(compressed.size() - read);
    std::span<std::byte> room = sink.room();
    const uInt output = zlib_piece(room.size());
    stream.next_in = zlib_input(compressed.data() + read);
    stream.avail_in = input;
    stream.next_out = reinterpret_cast<Bytef*>(room.data());
    stream.avail_out = output;
    status = inflate(&stream, Z_NO_FLUSH);
    read += input - stream.avail_in;
    sink.add(output - stream.avail_out);
    if (sink.overfull()) return sink.take();
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
  return sink.take();
}

Result<std::vector<std::byte>> compress_zstd(int level, std::span<const std::byte> bytes, Source& source) {
  std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  if (context == nullptr) return Error{Errc::kInternal, "zstd", "cannot start compression (out of memory?)"};
  for (auto [parameter, value] : {std::pair{ZSTD_c_compressionLevel, level}, std::pair{ZSTD_c_checksumFlag, 1},
                                  std::pair{ZSTD_c_contentSizeFlag, 1}}) {
    size_t status = ZSTD_CCtx_setParameter(context.get(), parameter, value);
    FAIRWAY_CHECK(!ZSTD_isError(status));
  }
  // With the size known beforehand, pieces give the frame that a single call would.
  size_t pledged = ZSTD_CCtx_setPledgedSrcSize(context.get(), bytes.size());
  FAIRWAY_CHECK(!ZSTD_isError(pledged));
  std::vector<std::byte> out(ZSTD_compressBound(bytes.size()));
  ZSTD_outBuffer output{out.data(), out.size(), 0};
  size_t left = 1;
  do {
    FAIRWAY_TRY(source.next());
    ZSTD_inBuffer input{source.piece().data(), source.piece().size(), 0};
    do {
      left = ZSTD_compressStream2(context.get(), &output, &input, source.last() ? ZSTD_e_end : ZSTD_e_continue);
      if (ZSTD_isError(left)) {
        return Error{Errc::kInternal, "zstd", fmt::format("compression failed ({})", ZSTD_getErrorName(left))};
      }
    } while (input.pos < input.size || (source.last() && left != 0));
  } while (!source.last());
  out.resize(output.pos);
  return out;
}

// The claimed size of the one frame that `compressed` must be.
Result<uint64_t> zstd_frame_size(std::span<const std::byte> compressed, bool needs_checksum, const std::string& where) {
  // The frame header is judged before anything is allocated; a skippable frame has another magic number.
  if (compressed.size() < 5 || load_le32(compressed.data()) != kZstdMagic) {
    return unusable(where, "not a zstd frame");
  }
  unsigned descriptor = std::to_integer<unsigned>(compressed[4]);
  if (needs_checksum && (descriptor & 4u) == 0) {
    return unusable(where, "the zstd frame has no content checksum; write it with one");
  }
  if ((descriptor & 3u) != 0) return unusable(where, "the zstd frame names a dictionary; none is allowed");
  unsigned long long claimed = ZSTD_getFrameContentSize(compressed.data(), compressed.size());
  if (claimed == ZSTD_CONTENTSIZE_ERROR) return unusable(where, "truncated or corrupt zstd frame header");
  if (claimed == ZSTD_CONTENTSIZE_UNKNOWN) return unusable(where, "the zstd frame does not state its content size");
  return uint64_t{claimed};
}

Result<std::vector<std::byte>> decompress_zstd(std::span<const std::byte> compressed, uint64_t exact_size,
                                               const std::string& where) {
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

using XzStream = std::unique_ptr<lzma_stream, void (*)(lzma_stream*)>;

uint8_t* xz_bytes(std::byte* bytes) { return reinterpret_cast<uint8_t*>(bytes); }
const uint8_t* xz_bytes(const std::byte* bytes) { return reinterpret_cast<const uint8_t*>(bytes); }

Result<std::vector<std::byte>> compress_xz(int level, std::span<const std::byte> bytes, Source& source) {
  lzma_stream stream = LZMA_STREAM_INIT;
  XzStream guard(&stream, lzma_end);
  if (lzma_easy_encoder(&stream, static_cast<uint32_t>(level), LZMA_CHECK_CRC64) != LZMA_OK) {
    return Error{Errc::kInternal, "xz", "cannot start compression (out of memory?)"};
  }
  Sink sink(lzma_stream_buffer_bound(bytes.size()), kNoLimit);
  lzma_ret status = LZMA_OK;
  while (status == LZMA_OK) {
    FAIRWAY_TRY(source.next());
    stream.next_in = xz_bytes(source.piece().data());
    stream.avail_in = source.piece().size();
    while (status == LZMA_OK && (stream.avail_in > 0 || source.last())) {
      std::span<std::byte> room = sink.room();
      stream.next_out = xz_bytes(room.data());
      stream.avail_out = room.size();
      status = lzma_code(&stream, source.last() ? LZMA_FINISH : LZMA_RUN);
      sink.add(room.size() - stream.avail_out);
    }
  }
  if (status != LZMA_STREAM_END) {
    return Error{Errc::kInternal, "xz", fmt::format("compression failed ({})", static_cast<int>(status))};
  }
  return sink.take();
}

Result<std::vector<std::byte>> decompress_xz(std::span<const std::byte> compressed, Sink& sink,
                                             const std::string& where) {
  lzma_stream stream = LZMA_STREAM_INIT;
  XzStream guard(&stream, lzma_end);
  if (lzma_stream_decoder(&stream, kXzMemoryBytes, LZMA_TELL_NO_CHECK | LZMA_TELL_UNSUPPORTED_CHECK) != LZMA_OK) {
    return Error{Errc::kInternal, "xz", "cannot start decompression (out of memory?)"};
  }
  stream.next_in = xz_bytes(compressed.data());
  stream.avail_in = compressed.size();
  lzma_ret status = LZMA_OK;
  while (status == LZMA_OK) {
    std::span<std::byte> room = sink.room();
    stream.next_out = xz_bytes(room.data());
    stream.avail_out = room.size();
    status = lzma_code(&stream, LZMA_FINISH);
    sink.add(room.size() - stream.avail_out);
    if (sink.overfull()) return sink.take();
  }
  const uint64_t read = compressed.size() - stream.avail_in;
  if (status == LZMA_BUF_ERROR) {
    return unusable(where, fmt::format("truncated: the xz stream does not end in {} bytes", read));
  }
  if (status == LZMA_NO_CHECK || status == LZMA_UNSUPPORTED_CHECK) {
    return unusable(where, "the xz stream has no usable checksum; write it with one");
  }
  if (status == LZMA_MEMLIMIT_ERROR) {
    return unusable(where, fmt::format("the xz stream asks for more than {} bytes of memory", kXzMemoryBytes));
  }
  if (status != LZMA_STREAM_END) return unusable(where, fmt::format("corrupt xz stream near byte {}", read));
  if (stream.avail_in != 0) {
    return unusable(where, fmt::format("{} bytes follow the end of the xz stream", stream.avail_in));
  }
  return sink.take();
}

constexpr struct {
  Codec codec;
  const char* name;
  int first_level, last_level;
} kCodecs[] = {{Codec::kZlib, "zlib", 1, 9}, {Codec::kZstd, "zstd", 1, 22}, {Codec::kXz, "xz", 0, 9}};

const char* library_version(Codec codec) {
  return codec == Codec::kZlib ? zlibVersion() : codec == Codec::kZstd ? ZSTD_versionString() : lzma_version_string();
}

}  // namespace

std::string codec_name(CodecSetting setting) {
  return fmt::format("{}-{}", kCodecs[static_cast<size_t>(setting.codec)].name, setting.level);
}

Result<CodecSetting> codec_by_name(const std::string& name) {
  for (const auto& known : kCodecs) {
    for (int level = known.first_level; level <= known.last_level; ++level) {
      if (codec_name({known.codec, level}) == name) return CodecSetting{known.codec, level};
    }
  }
  return Error{Errc::kUsage, "codec", "unknown codec; use zlib-1 to zlib-9, zstd-1 to zstd-22 or xz-0 to xz-9"};
}

Result<std::vector<std::byte>> compress(CodecSetting setting, std::span<const std::byte> bytes) {
  Source source(bytes, "compress " + codec_name(setting));
  switch (setting.codec) {
    case Codec::kZlib:
      return compress_zlib(setting.level, bytes, source);
    case Codec::kZstd:
      return compress_zstd(setting.level, bytes, source);
    case Codec::kXz:
      return compress_xz(setting.level, bytes, source);
  }
  FAIRWAY_CHECK(false);
}

Result<std::vector<std::byte>> decompress(Codec codec, std::span<const std::byte> compressed, uint64_t exact_size,
                                          const std::string& where) {
  if (codec == Codec::kZstd) {
    FAIRWAY_ASSIGN(uint64_t claimed, zstd_frame_size(compressed, true, where));
    if (claimed != exact_size) {
      return unusable(where, fmt::format("the zstd frame claims {} bytes instead of {}", claimed, exact_size));
    }
    return decompress_zstd(compressed, exact_size, where);
  }
  if (exact_size / (codec == Codec::kZlib ? kZlibMaxExpansion : kXzMaxExpansion) > compressed.size()) {
    return unusable(where,
                    fmt::format("{} compressed bytes cannot hold the {} expected", compressed.size(), exact_size));
  }
  Sink sink(exact_size, exact_size);
  FAIRWAY_ASSIGN(auto bytes, codec == Codec::kZlib ? decompress_zlib(compressed, sink, where)
                                                   : decompress_xz(compressed, sink, where));
  if (bytes.size() > exact_size) {
    return unusable(where, fmt::format("decompresses to more than the {} bytes expected", exact_size));
  }
  if (bytes.size() != exact_size) {
    return unusable(where, fmt::format("decompresses to {} bytes instead of {}", bytes.size(), exact_size));
  }
  return bytes;
}

std::optional<Codec> detect_codec(std::span<const std::byte> compressed) {
  if (compressed.size() < 6) return std::nullopt;
  const uint32_t first = load_le32(compressed.data());
  if (first == kZstdMagic) return Codec::kZstd;
  if (first == kXzMagic && load_le16(compressed.data() + 4) == kXzMagicEnd) return Codec::kXz;
  // RFC 1950: deflate with a window of at most 32 KiB, and the two bytes a multiple of 31 as a big-endian number.
  if ((first & 0x0fu) == 8 && ((first >> 4) & 0x0fu) <= 7 && ((first & 0xffu) << 8 | ((first >> 8) & 0xffu)) % 31 == 0) {
    return Codec::kZlib;
  }
  return std::nullopt;
}

Result<std::vector<std::byte>> decompress_at_most(Codec codec, std::span<const std::byte> compressed, uint64_t max_size,
                                                  const std::string& where) {
  auto too_large = [&] { return unusable(where, fmt::format("decompresses to more than {} bytes", max_size)); };
  if (codec == Codec::kZstd) {
    FAIRWAY_ASSIGN(uint64_t claimed, zstd_frame_size(compressed, false, where));
    if (claimed > max_size) return too_large();
    return decompress_zstd(compressed, claimed, where);
  }
  Sink sink(std::max<uint64_t>(4 * compressed.size(), 4096), max_size);
  FAIRWAY_ASSIGN(auto bytes, codec == Codec::kZlib ? decompress_zlib(compressed, sink, where)
                                                   : decompress_xz(compressed, sink, where));
  if (bytes.size() > max_size) return too_large();
  return bytes;
}

Result<CodecIdentity> codec_identity(CodecSetting setting) {
  FAIRWAY_ASSIGN(std::vector<std::byte> answer, compress(setting, codec_known_input()));
  return CodecIdentity{codec_name(setting), library_version(setting.codec), sha256(answer)};
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

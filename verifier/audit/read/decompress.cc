#include "verifier/audit/read/decompress.h"

#include <brotli/decode.h>
#include <lzma.h>
#include <zlib.h>

#include <algorithm>

namespace fairway::audit {
namespace {

constexpr size_t kStep = 64 << 10;
constexpr uint64_t kDecoderMemory = 80 << 20;   // xz -9 asks for a dictionary of 64 MiB, whatever it packs
constexpr uint32_t kRawDictionary = 16 << 20;  // at least that of the packer; larger than any source that is let out

const uint8_t* u8(std::string_view s) { return reinterpret_cast<const uint8_t*>(s.data()); }

/// Makes room for the next step; false at the bound.
bool grow(Decompressed& out, size_t done, size_t max_bytes) {
  if (done >= max_bytes) {
    out.too_large = true;
    return false;
  }
  out.bytes.resize(std::min(max_bytes, std::max(done + kStep, done * 2)));
  return true;
}

std::optional<Decompressed> run_lzma(lzma_stream& stream, std::string_view in, size_t max_bytes) {
  Decompressed out;
  stream.next_in = u8(in);
  stream.avail_in = in.size();
  size_t done = 0;
  lzma_ret code = LZMA_OK;
  while (code == LZMA_OK && grow(out, done, max_bytes)) {
    stream.next_out = reinterpret_cast<uint8_t*>(out.bytes.data()) + done;
    stream.avail_out = out.bytes.size() - done;
    code = lzma_code(&stream, LZMA_FINISH);
    done = out.bytes.size() - stream.avail_out;
  }
  lzma_end(&stream);
  out.bytes.resize(done);
  if (code != LZMA_STREAM_END && !out.too_large) return std::nullopt;
  return out;
}

std::optional<Decompressed> xz_or_lzma(std::string_view in, size_t max_bytes) {
  lzma_stream stream = LZMA_STREAM_INIT;
  if (lzma_auto_decoder(&stream, kDecoderMemory, 0) != LZMA_OK) return std::nullopt;
  return run_lzma(stream, in, max_bytes);
}

std::optional<Decompressed> raw_lzma2(std::string_view in, size_t max_bytes) {
  lzma_options_lzma options;
  lzma_lzma_preset(&options, 6);
  options.dict_size = kRawDictionary;
  const lzma_filter filters[] = {{LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
  lzma_stream stream = LZMA_STREAM_INIT;
  if (lzma_raw_decoder(&stream, filters) != LZMA_OK) return std::nullopt;
  return run_lzma(stream, in, max_bytes);
}

/// `window`: 47 finds zlib and gzip by their headers, -15 is raw deflate.
std::optional<Decompressed> deflated(std::string_view in, size_t max_bytes, int window) {
  z_stream stream{};
  if (inflateInit2(&stream, window) != Z_OK) return std::nullopt;
  Decompressed out;
  stream.next_in = const_cast<Bytef*>(u8(in));
  stream.avail_in = static_cast<uInt>(in.size());
  size_t done = 0;
  int code = Z_OK;
  while (code == Z_OK && grow(out, done, max_bytes)) {
    stream.next_out = reinterpret_cast<Bytef*>(out.bytes.data()) + done;
    stream.avail_out = static_cast<uInt>(out.bytes.size() - done);
    code = inflate(&stream, Z_NO_FLUSH);
    done = out.bytes.size() - stream.avail_out;
  }
  inflateEnd(&stream);
  out.bytes.resize(done);
  if (code != Z_STREAM_END && !out.too_large) return std::nullopt;
  return out;
}

std::optional<Decompressed> brotli(std::string_view in, size_t max_bytes) {
  BrotliDecoderState* state = BrotliDecoderCreateInstance(nullptr, nullptr, nullptr);
  if (state == nullptr) return std::nullopt;
  Decompressed out;
  const uint8_t* next_in = u8(in);
  size_t available_in = in.size(), done = 0;
  BrotliDecoderResult code = BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT;
  while (code == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT && grow(out, done, max_bytes)) {
    uint8_t* next_out = reinterpret_cast<uint8_t*>(out.bytes.data()) + done;
    size_t available_out = out.bytes.size() - done;
    code = BrotliDecoderDecompressStream(state, &available_in, &next_in, &available_out, &next_out, nullptr);
    done = out.bytes.size() - available_out;
  }
  BrotliDecoderDestroyInstance(state);
  out.bytes.resize(done);
  if (code != BROTLI_DECODER_RESULT_SUCCESS && !out.too_large) return std::nullopt;
  return out;
}

}  // namespace

std::optional<Decompressed> decompress_deflate(std::string_view bytes, size_t max_bytes) {
  return bytes.size() > (size_t{1} << 30) ? std::nullopt : deflated(bytes, max_bytes, -15);
}

std::optional<Decompressed> decompress(std::string_view bytes, size_t max_bytes) {
  using namespace std::string_view_literals;
  if (bytes.size() < 8 || bytes.size() > (size_t{1} << 30)) return std::nullopt;
  const uint8_t* b = u8(bytes);
  if (bytes.starts_with("\xFD\x37zXZ\0"sv)) return xz_or_lzma(bytes, max_bytes);
  if (b[0] == 0x1F && b[1] == 0x8B) return deflated(bytes, max_bytes, 47);
  if ((b[0] & 15) == 8 && (b[0] * 256 + b[1]) % 31 == 0) {
    if (auto out = deflated(bytes, max_bytes, 47)) return out;
  }
  if (b[0] == 0x5D && b[1] == 0) {
    if (auto out = xz_or_lzma(bytes, max_bytes)) return out;
  }
  // The first chunk of LZMA2 resets everything: its control byte is 1 (stored) or at least 0xE0.
  if (b[0] == 1 || b[0] >= 0xE0) {
    if (auto out = raw_lzma2(bytes, max_bytes)) return out;
  }
  // These have no header; bytes that are something else nearly never end as a complete stream.
  if (auto out = brotli(bytes, max_bytes); out && !out->too_large) return out;
  if (auto out = decompress_deflate(bytes, max_bytes); out && !out->too_large) return out;
  return std::nullopt;
}

}  // namespace fairway::audit

/// Decompression of untrusted bytes into memory with a bound on what may come out.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace fairway::audit {

struct Decompressed {
  std::string bytes;
  bool too_large = false;  ///< stopped at the bound; `bytes` holds what came out until then
};

/// Tries the compressions that the first bytes allow: xz, .lzma, zlib, gzip, raw LZMA2, raw deflate, brotli. Nothing if
/// none gives a complete stream. At most `max_bytes` come out; the decoders take at most some 70 MiB for themselves.
std::optional<Decompressed> decompress(std::string_view bytes, size_t max_bytes);

/// A raw deflate stream, as members of zip archives are.
std::optional<Decompressed> decompress_deflate(std::string_view bytes, size_t max_bytes);

}  // namespace fairway::audit

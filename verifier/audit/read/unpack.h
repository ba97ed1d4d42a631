/// Packed sources: Python files that carry their program as a compressed string and execute it. Unpacked here as data;
/// nothing runs.
///
/// Encodings: base85 (RFC 1924 alphabet and Ascii85), base64. Compressions: xz, the older .lzma, raw LZMA2, zlib, gzip,
/// raw deflate, brotli. The string may be one literal, several that Python joins, a variable, or a join of a list; or a
/// file beside the script.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fairway::audit {

struct UnpackedSource {
  std::string text;  ///< UTF-8, line ends "\n"
  int64_t line = 0;  ///< where the packed string begins in the text it was packed into
};

struct UnpackResult {
  std::vector<UnpackedSource> sources;  ///< also those found inside unpacked ones, outermost first
  std::vector<std::string> problems;    ///< "line 3: unpacks to more than 8388608 bytes"
};

/// `source`: decoded text of a Python file.
UnpackResult unpack_source(std::string_view source);

/// What `bytes` decompress to, if that is source text of at most limits::kUnpackedBytes. Knows nothing of encodings.
std::optional<std::string> decompress_source(std::string_view bytes);

}  // namespace fairway::audit

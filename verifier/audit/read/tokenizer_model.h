/// What each token of a SentencePiece model stands for in bytes, as the challenge counts them.
///
/// The file (sentencepiece_model.proto, a protocol buffer) comes with the record and is not trusted, so it is not
/// handed to the library, which builds tables from whatever a model says: only its list of pieces is read here, within
/// bounds. Nothing is tokenized.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"

namespace fairway::audit {

struct PieceBytes {
  int64_t bytes = 0;           ///< UTF-8 bytes of the piece without one leading U+2581; 1 for a byte; 0 at a boundary
  bool leading_space = false;  ///< a piece that starts with U+2581: one byte more unless a boundary precedes it
  bool boundary = false;       ///< control, unknown and unused pieces: they stand for no text
  bool operator==(const PieceBytes&) const = default;
};

struct TokenizerModel {
  std::string file;
  std::vector<PieceBytes> pieces;  ///< by token
  bool byte_fallback = false;      ///< it has pieces for single bytes
  bool bare_space = false;         ///< U+2581 alone is a piece
};

/// Reads the pieces. kData, with the offset in bytes: no protocol buffer, no piece, more pieces or longer ones than
/// limits.h allows, a piece whose type is none of the format's six.
Result<TokenizerModel> read_tokenizer_model(const std::string& file, std::string_view bytes);

}  // namespace fairway::audit

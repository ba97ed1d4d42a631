/// Bounds on what a record folder may cost. Each, when crossed, is reported by the name given here.
///
/// The largest real folders: 36 files of text, logs of 3 MB, sources of 1.6 MB, packed sources of 33 KB that unpack to
/// 219 KB.
#pragma once

#include <cstdint>

namespace fairway::audit::limits {

inline constexpr int64_t kFilesPerFolder = 4096;          ///< names listed
inline constexpr int kFolderDepth = 16;                   ///< folders inside folders
inline constexpr int64_t kTextFileBytes = 32ll << 20;     ///< a log, a source, a JSON file
inline constexpr int64_t kFolderTextBytes = 128ll << 20;  ///< all text read from one folder
inline constexpr int64_t kLogLineBytes = 16 << 10;        ///< the part of a line that is looked at
inline constexpr int64_t kLogFacts = 200'000;             ///< facts kept of one log
inline constexpr int kMarkersPerRun = 2000;
inline constexpr int64_t kTableBytes = 4 << 20;  ///< a table of bytes per token
inline constexpr int64_t kTableTokens = 1 << 18;
inline constexpr int64_t kTokenizerBytes = 4 << 20;  ///< a SentencePiece model
inline constexpr int64_t kPieceBytes = 1024;          ///< the text of one of its pieces
inline constexpr int kJsonDepth = 32;
inline constexpr int64_t kJsonValues = 100'000;
inline constexpr int64_t kUnpackedBytes = 8 << 20;  ///< one packed source
inline constexpr int kUnpackDepth = 4;              ///< packed inside packed
inline constexpr int kPackedLiterals = 64;          ///< packed pieces looked at in one source
inline constexpr int kEmbeddedTexts = 32;           ///< texts in C inside the scripts of a folder
inline constexpr double kFolderSeconds = 10;        ///< wall-clock; what is left unread is named

}  // namespace fairway::audit::limits

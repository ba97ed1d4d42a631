/// A record folder as the audit sees it: names, sizes and contents, on disk or inside git objects.
///
/// Nothing in a folder is executed, imported or followed: a symbolic link is a state of its entry, never a path to
/// open.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/result.h"

namespace fairway::audit {

enum class FileState {
  kPresent,
  kAbsent,   ///< listed, but its content is not here (a blob left out of a partial clone)
  kLink,     ///< a symbolic link or a submodule; never followed
  kTooLarge  ///< over the bound on one file; named, not read
};

struct FileEntry {
  std::string path;  ///< relative to the folder, '/' between parts
  int64_t size_bytes = 0;
  FileState state = FileState::kPresent;
};

class RecordFolder {
 public:
  virtual ~RecordFolder() = default;
  /// Sorted by path.
  virtual const std::vector<FileEntry>& files() const = 0;
  /// The bytes of a present entry. Error kIo or kData naming the path.
  virtual Result<std::string> read(const FileEntry& entry) const = 0;
  /// Where it came from, for people: "records/track_10min_16mb/2026-03-19_Name".
  virtual std::string path() const = 0;
  /// The git reference, or empty.
  virtual std::string ref() const { return ""; }
};

}  // namespace fairway::audit

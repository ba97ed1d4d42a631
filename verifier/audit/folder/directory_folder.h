/// A record folder on disk.
#pragma once

#include <memory>
#include <string>

#include "verifier/audit/record_folder.h"

namespace fairway::audit {

/// Lists `path` down to limits::kFolderDepth, without following a symbolic link anywhere below it, and reads files
/// relative to directory handles (openat, O_NOFOLLOW), so that a folder changed meanwhile cannot lead outside. Version
/// control's own folders
/// (.git) are left out. Error kNoInput: not a folder, or it cannot be opened; kData: more than limits::kFilesPerFolder
/// files.
Result<std::unique_ptr<RecordFolder>> open_directory(const std::string& path);

}  // namespace fairway::audit

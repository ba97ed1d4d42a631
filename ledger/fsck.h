/// Checking a whole log: every tile, every partial tile and the root are derived again from the entries and compared.
///
/// Nothing stored is trusted but the key that is given. Memory does not grow with the log.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "ledger/policy.h"

namespace fairway::ledger {

struct FsckOptions {
  /// Called with every entry; what it returns as an error is the finding of that entry. Empty: entries are only hashed.
  std::function<Status(uint64_t index, std::string_view entry)> check_entry;
  /// Called with the number of entries that are done, once per bundle.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

/// The first thing that is wrong, in the order of the entries.
struct FsckFinding {
  std::string where;  ///< file and place in it
  std::string what;
  std::optional<uint64_t> first_entry;  ///< the first entry it concerns; nothing if it concerns the log as a whole
};

struct FsckReport {
  TreeHead head;                       ///< of the checkpoint
  uint64_t checked = 0;                ///< entries
  std::optional<FsckFinding> finding;  ///< nothing: the log is sound
};

/// Errors: kNoInput if there is no checkpoint, kData if it is none, kIo. Everything else that is wrong is the report's
/// finding: a false signature, a missing or damaged file, an entry or a hash that does not belong into the tree.
Result<FsckReport> fsck(const std::string& directory, const Policy& policy, const FsckOptions& options,
                        FileSystem& system = FileSystem::real());

}  // namespace fairway::ledger

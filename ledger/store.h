/// Reading a log's folder: checkpoint, tiles, entry bundles.
///
/// Nothing read here is trusted: whoever reads checks the result against a root. Memory is bounded by one tile per
/// level and one bundle, whatever the size of the log.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/file.h"
#include "ledger/checkpoint.h"
#include "ledger/merkle.h"
#include "ledger/tile.h"

namespace fairway::ledger {

inline constexpr const char* kCheckpointName = "checkpoint";
inline constexpr const char* kVkeyName = "log.vkey";

/// A text file of at most `max_bytes`.
Result<std::string> read_text(const std::string& path, uint64_t max_bytes, FileSystem& system = FileSystem::real());

/// The checkpoint in a log's folder, not yet verified. kNoInput if there is none.
Result<Checkpoint> read_checkpoint(const std::string& directory, FileSystem& system = FileSystem::real());

/// The tree of `size` entries in a folder. A partial tile that is gone is looked for in the full one, as tlog-tiles
/// allows.
class TileStore : public NodeSource {
 public:
  TileStore(std::string directory, uint64_t size, FileSystem& system = FileSystem::real())
      : directory_(std::move(directory)), size_(size), system_(&system) {}

  uint64_t size() const { return size_; }

  /// Rebuilt from the tile that holds the node's part of the tree. The node must be complete in this tree.
  Result<Digest> node(unsigned level, uint64_t index) override;

  /// As many hashes as the tile has in this tree. kNoInput if it is missing, kData if its width is wrong.
  Result<std::vector<Digest>> tile(unsigned level, uint64_t index);

  /// The bytes of a bundle, cut after the entries it has in this tree.
  Result<std::string> bundle(uint64_t index);

  /// One entry; needs index < size().
  Result<std::string> entry(uint64_t index);

  /// Where the tile and the bundle of this tree are expected; for messages.
  std::string tile_file(unsigned level, uint64_t index) const;
  std::string bundle_file(uint64_t index) const;

 private:
  struct Cached {
    uint64_t index = 0;
    std::vector<Digest> hashes;  // empty: nothing is cached
  };

  std::string directory_;
  uint64_t size_;
  FileSystem* system_;
  std::array<Cached, kMaxTileLevels> cache_;
};

}  // namespace fairway::ledger

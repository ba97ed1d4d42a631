/// Writing a log: entries in, a signed checkpoint out.
///
/// An append becomes durable in this order, each file written as a temporary, synced, renamed, its folder synced:
///   1. entry bundles and hash tiles; no checkpoint names them yet
///   2. the new checkpoint in the memory of the key: a file beside the key, outside the published folder
///   3. the new checkpoint in the published folder; only now is the append acknowledged
/// A process killed anywhere leaves a log that opens. What was acknowledged is there. An append killed after step 2 is
/// completed on the next open, an earlier one has never happened.
///
/// No fork is ever signed: a writer locks the folder; before step 2 it compares the published checkpoint with the one
/// it has extended (another machine may not have seen the lock); and the memory of the key refuses a folder that was
/// rolled back or replaced. Non-goals: networks, several folders for one key.
#pragma once

#include <array>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "engine/base/file.h"
#include "ledger/checkpoint.h"
#include "ledger/merkle.h"
#include "ledger/tile.h"

namespace fairway::ledger {

struct LogPaths {
  std::string directory;    ///< what is published
  std::string last_signed;  ///< the memory of the key; never inside `directory`
};

/// Excludes other writers of a folder while it lives (flock on the folder itself, so no file is left behind).
class WriterLock {
 public:
  /// kUnavailable if another process has it.
  static Result<WriterLock> take(const std::string& directory);
  WriterLock(WriterLock&& other) noexcept;
  WriterLock& operator=(WriterLock&&) = delete;
  ~WriterLock();

 private:
  explicit WriterLock(int fd) : fd_(fd) {}
  int fd_;
};

class Log {
 public:
  /// An empty log: the folder, its public key in log.vkey and the checkpoint of size 0. kUsage if there is a log
  /// already; kData if the key remembers another one.
  static Status create(const LogPaths& paths, const std::string& origin, const PrivateKey& key,
                       FileSystem& system = FileSystem::real());

  /// Locks the log, completes an append that was cut off, and checks everything the next append builds on: the
  /// checkpoint's signature, the right edge of the tree against its root, the last bundle against its tile. `key` must
  /// outlive the object.
  ///
  /// Errors: kNoInput without a checkpoint; kUnavailable if another writer is at work; kData for a wrong key, a
  /// rolled-back or forked folder, or damaged tiles; kIo.
  static Result<Log> open(const LogPaths& paths, const PrivateKey& key, FileSystem& system = FileSystem::real());

  /// Appends all entries under one new checkpoint and returns the index of the first. When this returns without an
  /// error, all of them are durable. After an error none is acknowledged, what was published before stays as it was
  /// unless the last step itself failed halfway, and this object refuses to go on: open the log again.
  Result<uint64_t> append(std::span<const std::string> entries);

  /// Publishes the current checkpoint with more signatures, which must have been verified. kUsage if it is another one.
  Status publish_cosigned(const Checkpoint& checkpoint);

  const Checkpoint& checkpoint() const { return checkpoint_; }

 private:
  Log(LogPaths paths, const PrivateKey& key, FileSystem& system, WriterLock lock)
      : paths_(std::move(paths)), key_(&key), system_(&system), lock_(std::move(lock)) {}

  Status load();
  Status compare_with_memory();
  Status load_edge();
  Status write_log_file(const std::string& name, std::string_view bytes);
  Status write_tile(unsigned level);
  Status write_bundle();
  Status publish(const Checkpoint& next);
  void remove_partials(const std::string& full_name);

  LogPaths paths_;
  const PrivateKey* key_;
  FileSystem* system_;
  WriterLock lock_;
  Checkpoint checkpoint_;
  std::string published_;  // the text of the checkpoint in the folder
  Frontier frontier_;
  std::array<std::vector<Digest>, kMaxTileLevels> edge_;  // hashes of the last, partial tile of every level
  std::string bundle_;                                    // the last, partial bundle
  std::set<std::string> durable_directories_;
  std::vector<std::string> completed_;  // full files of this append, whose partial forerunners may go
  bool broken_ = false;                 // an append failed; memory and disk may differ
};

}  // namespace fairway::ledger

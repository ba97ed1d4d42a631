#include "ledger/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "ledger/store.h"

namespace fairway::ledger {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxKnownDirectories = 256;

/// What a verification disproves is, for a writer, a folder it cannot use.
Status usable(const Status& status) {
  if (status || status.error().code != Errc::kDisproved) return status;
  Error error = status.error();
  error.code = Errc::kData;
  return error;
}

Error data_error(const std::string& where, std::string what) { return Error{Errc::kData, where, std::move(what)}; }

/// kData unless the tree of `store` has the root of `head` at its size.
Status expect_prefix(TileStore& store, const TreeHead& head, const std::string& where, std::string_view what) {
  const auto root = tree_root(store, head.size);
  if (!root && root.error().code == Errc::kIo) return root.error();
  if (root && *root == head.root) return {};
  return data_error(where, std::string(what));
}

}  // namespace

Result<WriterLock> WriterLock::take(const std::string& directory) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    Error error = io_error(directory, "open the log's folder", errno);
    if (errno == ENOENT || errno == ENOTDIR) error.code = Errc::kNoInput;
    return error;
  }
  WriterLock lock(fd);
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK)
    return Error{Errc::kUnavailable, directory, "another process is writing to this log; run again when it has ended"};
  return io_error(directory, "lock", errno);
}

WriterLock::WriterLock(WriterLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
WriterLock::~WriterLock() {
  if (fd_ >= 0) ::close(fd_);
}

Status Log::create(const LogPaths& paths, const std::string& origin, const PrivateKey& key, FileSystem& system) {
  if (!valid_key_name(origin)) {
    return Error{Errc::kUsage, "origin", "must be a name without spaces and plus signs, such as example.com/fairway"};
  }
  FAIRWAY_TRY(make_directories(paths.directory, system));
  FAIRWAY_ASSIGN(const WriterLock lock, WriterLock::take(paths.directory));
  const std::string path = paths.directory + "/" + kCheckpointName;
  if (fs::exists(path)) return Error{Errc::kUsage, paths.directory, "is a log already"};
  const Checkpoint empty = sign_checkpoint(TreeHead{origin, 0, Frontier().root()}, key);
  const std::string vkey = format_vkey(make_verifier_key(origin, SignatureType::kEd25519, key.public_key())) + "\n";
  const auto before = read_text(paths.last_signed, kMaxNoteBytes, system);
  // A creation that was cut off may be done again; anything else would be a second log of one key.
  if (before ? *before != empty.text() : before.error().code != Errc::kNoInput) {
    return data_error(paths.last_signed,
                      "this key has signed a log before; make a new key, or restore the folder of that log");
  }
  FAIRWAY_TRY(write_file_atomic(paths.directory + "/" + kVkeyName, vkey, system));
  FAIRWAY_TRY(write_file_atomic(paths.last_signed, empty.text(), system));
  return write_file_atomic(path, empty.text(), system);
}

Result<Log> Log::open(const LogPaths& paths, const PrivateKey& key, FileSystem& system) {
  FAIRWAY_ASSIGN(WriterLock lock, WriterLock::take(paths.directory));
  Log log(paths, key, system, std::move(lock));
  FAIRWAY_TRY(log.load());
  return log;
}

Status Log::load() {
  FAIRWAY_ASSIGN(checkpoint_, read_checkpoint(paths_.directory, *system_));
  published_ = checkpoint_.text();
  const std::string where = paths_.directory + "/" + kCheckpointName;
  const auto vkey = make_verifier_key(checkpoint_.head.origin, SignatureType::kEd25519, key_->public_key());
  FAIRWAY_TRY(usable(verify_checkpoint(checkpoint_, vkey, where)));
  FAIRWAY_TRY(compare_with_memory());
  return load_edge();
}

/// Brings folder and memory of the key together, or refuses.
Status Log::compare_with_memory() {
  auto text = read_text(paths_.last_signed, kMaxNoteBytes, *system_);
  if (!text && text.error().code != Errc::kNoInput) return text.error();
  // The key came from elsewhere (a secret of a CI system): what is published is what there is to go by.
  if (!text) return write_file_atomic(paths_.last_signed, published_, *system_);
  FAIRWAY_ASSIGN(const Checkpoint last, parse_checkpoint(*text, paths_.last_signed));
  const TreeHead &here = checkpoint_.head, &there = last.head;
  if (here == there) return {};
  if (here.origin != there.origin) {
    return data_error(paths_.last_signed, fmt::format("the key remembers the log \"{}\", the folder holds \"{}\"",
                                                      there.origin, here.origin));
  }
  if (here.size == there.size)
    return data_error(paths_.directory,
                      fmt::format("forked: the key has signed another tree of {} entries", here.size));
  TileStore store(paths_.directory, std::max(here.size, there.size), *system_);
  if (here.size > there.size) {
    FAIRWAY_TRY(expect_prefix(
        store, there, paths_.directory,
        fmt::format("forked: the tree does not continue the {} entries the key has signed last", there.size)));
    return write_file_atomic(paths_.last_signed, published_, *system_);
  }
  // Either an append was cut off before its last step, or somebody has put an older folder here.
  FAIRWAY_TRY(
      expect_prefix(store, there, paths_.directory,
                    fmt::format("rolled back: the key has signed {} entries, the folder holds {}; restore a newer copy",
                                there.size, here.size)));
  FAIRWAY_TRY(expect_prefix(store, here, paths_.directory,
                            "forked: the published tree is not a prefix of the one signed last"));
  FAIRWAY_TRY(write_file_atomic(paths_.directory + "/" + kCheckpointName, last.text(), *system_));
  checkpoint_ = last;
  published_ = last.text();
  return {};
}

Status Log::load_edge() {
  const uint64_t size = checkpoint_.head.size;
  TileStore store(paths_.directory, size, *system_);
  FAIRWAY_ASSIGN(frontier_, Frontier::load(store, size));
  if (frontier_.root() != checkpoint_.head.root) {
    return data_error(paths_.directory,
                      "the tiles do not give the root of the checkpoint; `fairway ledger fsck` tells where");
  }
  for (unsigned level = 0; level < kMaxTileLevels; ++level) {
    const uint64_t index = size >> (kTileHeight * level) >> kTileHeight;
    if (tile_width(level, index, size) == 0) continue;
    FAIRWAY_ASSIGN(edge_[level], store.tile(level, index));
  }
  const uint64_t last = size / kTileWidth;
  if (edge_[0].empty()) return {};
  FAIRWAY_ASSIGN(bundle_, store.bundle(last));
  const std::string name = store.bundle_file(last);
  FAIRWAY_ASSIGN(const auto entries, decode_bundle(bundle_, static_cast<unsigned>(edge_[0].size()), name));
  for (size_t i = 0; i < entries.size(); ++i) {
    if (leaf_hash(entries[i]) != edge_[0][i]) {
      return data_error(name, fmt::format("entry {} is not the one in the tree; `fairway ledger fsck` tells more",
                                          last * kTileWidth + i));
    }
  }
  return {};
}

/// A file of the published folder, with the folders above it. Their names too must survive a power loss, even if a
/// process killed earlier has made them and not synced them.
Status Log::write_log_file(const std::string& name, std::string_view bytes) {
  const std::string path = paths_.directory + "/" + name;
  const std::string folder = parent_directory(path);
  if (!durable_directories_.contains(folder)) {
    FAIRWAY_TRY(make_directories(folder, *system_));
    for (std::string at = folder; at != paths_.directory; at = parent_directory(at)) {
      FAIRWAY_TRY(sync_directory(parent_directory(at), *system_));
    }
    if (durable_directories_.size() == kMaxKnownDirectories) durable_directories_.clear();
    durable_directories_.insert(folder);
  }
  return write_file_atomic(path, bytes, *system_);
}

/// The last tile of a level, whose index follows from the number of hashes that came before.
Status Log::write_tile(unsigned level) {
  const uint64_t index = (frontier_.size() >> (kTileHeight * level)) / kTileWidth;
  const auto width = static_cast<unsigned>(edge_[level].size());
  // A tile that has just been filled is the one before what the size says.
  const std::string name = tile_path(level, width == kTileWidth ? index - 1 : index, width);
  if (width == kTileWidth) completed_.push_back(name);
  return write_log_file(name, encode_tile(edge_[level]));
}

Status Log::write_bundle() {
  const uint64_t index = frontier_.size() / kTileWidth;
  const auto width = static_cast<unsigned>(edge_[0].size());
  const std::string name = bundle_path(width == kTileWidth ? index - 1 : index, width);
  if (width == kTileWidth) completed_.push_back(name);
  return write_log_file(name, bundle_);
}

Result<uint64_t> Log::append(std::span<const std::string> entries) {
  if (broken_) return Error{Errc::kIo, paths_.directory, "an earlier append failed; open the log again"};
  for (size_t i = 0; i < entries.size(); ++i) {
    if (entries[i].size() > kMaxEntryBytes) {
      return data_error(fmt::format("entry {} of {}", i + 1, entries.size()),
                        fmt::format("is longer than {} bytes", kMaxEntryBytes));
    }
  }
  const uint64_t first = frontier_.size();
  if (entries.empty()) return first;
  broken_ = true;  // until the checkpoint is out
  std::set<unsigned> touched;
  for (const std::string& entry : entries) {
    append_to_bundle(bundle_, entry);
    std::vector<unsigned> full;
    frontier_.append(leaf_hash(entry), [&](unsigned level, const Digest& hash) {
      if (level % kTileHeight != 0) return;
      const unsigned tile_level = level / kTileHeight;
      edge_[tile_level].push_back(hash);
      touched.insert(tile_level);
      if (edge_[tile_level].size() == kTileWidth) full.push_back(tile_level);
    });
    for (const unsigned level : full) {
      if (level == 0) {
        FAIRWAY_TRY(write_bundle());
        bundle_.clear();
      }
      FAIRWAY_TRY(write_tile(level));
      edge_[level].clear();
    }
  }
  if (!edge_[0].empty()) FAIRWAY_TRY(write_bundle());
  for (const unsigned level : touched) {
    if (!edge_[level].empty()) FAIRWAY_TRY(write_tile(level));
  }
  FAIRWAY_TRY(publish(sign_checkpoint(TreeHead{checkpoint_.head.origin, frontier_.size(), frontier_.root()}, *key_)));
  for (const std::string& name : completed_) remove_partials(name);
  completed_.clear();
  broken_ = false;
  return first;
}

Status Log::publish(const Checkpoint& next) {
  const std::string path = paths_.directory + "/" + kCheckpointName;
  FAIRWAY_ASSIGN(const auto now, read_text(path, kMaxNoteBytes, *system_));
  if (now != published_) {
    return data_error(
        path, "was changed by somebody else while this process extended the log; to sign now would fork it; run again");
  }
  const std::string text = next.text();
  FAIRWAY_TRY(write_file_atomic(paths_.last_signed, text, *system_));
  FAIRWAY_TRY(write_file_atomic(path, text, *system_));
  checkpoint_ = next;
  published_ = text;
  return {};
}

Status Log::publish_cosigned(const Checkpoint& checkpoint) {
  if (checkpoint.head != checkpoint_.head)
    return Error{Errc::kUsage, paths_.directory, "these cosignatures are for another checkpoint"};
  return publish(checkpoint);
}

/// Removes the partial forms of a full tile or bundle, as tlog-tiles allows. They are needless, not harmful: whatever
/// cannot be removed stays.
void Log::remove_partials(const std::string& full_name) {
  const std::string folder = paths_.directory + "/" + full_name + ".p";
  std::error_code ignored;
  for (const auto& file : fs::directory_iterator(folder, ignored)) system_->unlink(file.path().string());
  fs::remove(folder, ignored);
  durable_directories_.erase(folder);
}

}  // namespace fairway::ledger

/// Token shards: the `.bin` files that hold a tokenized corpus.
///
///   offset  type            meaning
///   0       int32           20240520
///   4       int32           version, 1
///   8       int32           ntok, the number of tokens in this file
///   12      int32 * 253     zero when written, ignored when read
///   1024    uint16 * ntok   token ids
///
/// Everything is little-endian and the size is exactly 1024 + 2 * ntok bytes. The shards of a split are named
/// `<stem>_%06d.bin` (stem "fineweb_train"), ordered by name; documents may straddle two shards of the same split.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/result.h"

namespace fairway::data {

constexpr int32_t kShardMagic = 20240520;
constexpr int32_t kShardVersion = 1;
constexpr int64_t kShardHeaderBytes = 1024;
constexpr int64_t kTokensPerShard = 100'000'000;
constexpr int32_t kMaxVocabSize = 65'536;

/// One shard, mapped. Opening checks the header and the size; token ids are checked as they are read, so that a
/// training run need not page in every shard before its first step.
class Shard {
 public:
  /// kNoInput if it cannot be opened; kData, with the offset at fault, if header or size are wrong.
  /// `vocab_size` in 1..kMaxVocabSize.
  static Result<Shard> open(const std::string& path, int32_t vocab_size);

  const std::string& path() const { return path_; }
  int64_t token_count() const { return token_count_; }

  /// Copies tokens [first, first + out.size()), which must exist. An id >= vocab_size is an Error kData that names the
  /// file and the byte offset of the id.
  Status read(int64_t first, std::span<uint16_t> out) const;

 private:
  Shard(std::string path, MappedFile file, int64_t token_count, int32_t vocab_size);
  std::string path_;
  MappedFile file_;
  int64_t token_count_;
  int32_t vocab_size_;
};

/// "<stem>_000042.bin"
std::string shard_name(std::string_view stem, int64_t index);

/// The shards `<stem>_<digits>.bin` in `directory`, as paths, in the order of their names' bytes.
/// Other files are ignored (`fineweb_val_bytes_000000.bin` is not a shard of "fineweb_val"). None: Error kNoInput.
Result<std::vector<std::string>> list_shards(const std::string& directory, std::string_view stem);

/// Opens shards in the given order. A split without a single token is an Error kData.
Result<std::vector<Shard>> open_shards(std::span<const std::string> paths, int32_t vocab_size);

/// Writes one split, starting a new file every `tokens_per_shard` tokens.
///
/// Each file appears complete or not at all (AtomicFile); files finished before an error stay. No token, no file.
class ShardWriter {
 public:
  ShardWriter(std::string directory, std::string stem, int64_t tokens_per_shard = kTokensPerShard,
              FileSystem& system = FileSystem::real());

  Status append(std::span<const uint16_t> tokens);

  /// Completes the last file and returns the paths of all, in order. The last call.
  Result<std::vector<std::string>> finish();

 private:
  Status finish_shard();

  std::string directory_;
  std::string stem_;
  int64_t tokens_per_shard_;
  FileSystem* system_;
  std::optional<AtomicFile> file_;
  int64_t tokens_in_file_ = 0;
  std::vector<std::byte> buffer_;
  std::vector<std::string> paths_;
};

}  // namespace fairway::data

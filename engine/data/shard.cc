#include "engine/data/shard.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "engine/base/check.h"
#include "engine/base/endian.h"

namespace fairway::data {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 20;

Error bad_shard(const std::string& path, int64_t offset, std::string what) {
  return Error{Errc::kData, fmt::format("{} @ 0x{:x}", path, offset), std::move(what)};
}

int32_t header_field(std::span<const std::byte> bytes, int index) {
  return static_cast<int32_t>(load_le32(bytes.data() + 4 * index));
}

bool is_shard_name(std::string_view name, std::string_view stem) {
  constexpr std::string_view kSuffix = ".bin";
  if (!name.starts_with(stem) || !name.ends_with(kSuffix)) return false;
  if (name.size() < stem.size() + 2 + kSuffix.size() || name[stem.size()] != '_') return false;
  const std::string_view digits = name.substr(stem.size() + 1, name.size() - stem.size() - 1 - kSuffix.size());
  return std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

Shard::Shard(std::string path, MappedFile file, int64_t token_count, int32_t vocab_size)
    : path_(std::move(path)), file_(std::move(file)), token_count_(token_count), vocab_size_(vocab_size) {}

Result<Shard> Shard::open(const std::string& path, int32_t vocab_size) {
  FAIRWAY_CHECK(vocab_size > 0 && vocab_size <= kMaxVocabSize);
  FAIRWAY_ASSIGN(MappedFile file, MappedFile::open(path));
  const std::span<const std::byte> bytes = file.bytes();
  const auto size_bytes = static_cast<int64_t>(bytes.size());
  if (size_bytes < kShardHeaderBytes) {
    return bad_shard(
        path, 0,
        fmt::format("holds {} bytes, less than the header of a token shard ({})", size_bytes, kShardHeaderBytes));
  }
  if (const int32_t magic = header_field(bytes, 0); magic != kShardMagic) {
    return bad_shard(path, 0, fmt::format("magic number is {}, not {}: this is not a token shard", magic, kShardMagic));
  }
  if (const int32_t version = header_field(bytes, 1); version != kShardVersion) {
    return bad_shard(path, 4, fmt::format("shard version is {}; only version {} can be read", version, kShardVersion));
  }
  const int64_t token_count = header_field(bytes, 2);
  if (token_count < 0) return bad_shard(path, 8, fmt::format("token count is {}, below zero", token_count));
  const int64_t expected_bytes = kShardHeaderBytes + 2 * token_count;
  if (size_bytes != expected_bytes) {
    return bad_shard(
        path, 8,
        fmt::format("header announces {} tokens, a file of {} bytes, but it holds {} ({})", token_count, expected_bytes,
                    size_bytes, size_bytes < expected_bytes ? "truncated; fetch it again" : "trailing bytes"));
  }
  return Shard(path, std::move(file), token_count, vocab_size);
}

Status Shard::read(int64_t first, std::span<uint16_t> out) const {
  const auto count = static_cast<int64_t>(out.size());
  FAIRWAY_CHECK(first >= 0 && count <= token_count_ && first <= token_count_ - count);
  const std::byte* const from = file_.bytes().data() + kShardHeaderBytes + 2 * first;
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t id = load_le16(from + 2 * i);
    if (id >= vocab_size_) {
      return bad_shard(
          path_, kShardHeaderBytes + 2 * (first + i),
          fmt::format("token id {} is outside the vocabulary of {}; the shard belongs to another tokenizer "
                      "or is damaged",
                      id, vocab_size_));
    }
    out[static_cast<size_t>(i)] = id;
  }
  return {};
}

std::string shard_name(std::string_view stem, int64_t index) { return fmt::format("{}_{:06}.bin", stem, index); }

Result<std::vector<std::string>> list_shards(const std::string& directory, std::string_view stem) {
  namespace fs = std::filesystem;
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    std::string name = it->path().filename().string();
    if (is_shard_name(name, stem)) names.push_back(std::move(name));
  }
  if (error) return Error{Errc::kNoInput, directory, "cannot list the folder (" + error.message() + ")"};
  if (names.empty()) {
    return Error{Errc::kNoInput, directory,
                 fmt::format("holds no {}_<number>.bin; download or tokenize the data first", stem)};
  }
  std::sort(names.begin(), names.end());
  for (std::string& name : names) name = (fs::path(directory) / name).string();
  return names;
}

Result<std::vector<Shard>> open_shards(std::span<const std::string> paths, int32_t vocab_size) {
  std::vector<Shard> shards;
  int64_t token_count = 0;
  for (const std::string& path : paths) {
    FAIRWAY_ASSIGN(Shard shard, Shard::open(path, vocab_size));
    token_count += shard.token_count();
    shards.push_back(std::move(shard));
  }
  if (token_count == 0) {
    return Error{Errc::kData, paths.empty() ? std::string("token shards") : paths.front(), "there is not one token"};
  }
  return shards;
}

ShardWriter::ShardWriter(std::string directory, std::string stem, int64_t tokens_per_shard, FileSystem& system)
    : directory_(std::move(directory)), stem_(std::move(stem)), tokens_per_shard_(tokens_per_shard), system_(&system) {
  FAIRWAY_CHECK(tokens_per_shard > 0 && tokens_per_shard < (int64_t{1} << 31));
}

Status ShardWriter::append(std::span<const uint16_t> tokens) {
  while (!tokens.empty()) {
    if (!file_) {
      const std::string path =
          (std::filesystem::path(directory_) / shard_name(stem_, static_cast<int64_t>(paths_.size()))).string();
      FAIRWAY_ASSIGN(AtomicFile file, AtomicFile::create(path, *system_));
      file_.emplace(std::move(file));
      paths_.push_back(path);
      // A placeholder: the count is known, and the header written, when the shard is full.
      buffer_.assign(kShardHeaderBytes, std::byte{0});
      tokens_in_file_ = 0;
    }
    const size_t room = static_cast<size_t>(tokens_per_shard_ - tokens_in_file_);
    const std::span<const uint16_t> part = tokens.first(std::min({room, tokens.size(), kBufferBytes / 2}));
    const size_t old_size = buffer_.size();
    buffer_.resize(old_size + 2 * part.size());
    for (size_t i = 0; i < part.size(); ++i) store_le16(buffer_.data() + old_size + 2 * i, part[i]);
    tokens_in_file_ += static_cast<int64_t>(part.size());
    tokens = tokens.subspan(part.size());
    if (buffer_.size() >= kBufferBytes) {
      FAIRWAY_TRY(file_->write(buffer_));
      buffer_.clear();
    }
    if (tokens_in_file_ == tokens_per_shard_) FAIRWAY_TRY(finish_shard());
  }
  return {};
}

Status ShardWriter::finish_shard() {
  FAIRWAY_TRY(file_->write(buffer_));
  buffer_.clear();
  std::array<std::byte, 12> header;
  store_le32(header.data(), static_cast<uint32_t>(kShardMagic));
  store_le32(header.data() + 4, static_cast<uint32_t>(kShardVersion));
  store_le32(header.data() + 8, static_cast<uint32_t>(tokens_in_file_));
  FAIRWAY_TRY(file_->overwrite(0, header));
  FAIRWAY_TRY(file_->commit());
  file_.reset();
  return {};
}

Result<std::vector<std::string>> ShardWriter::finish() {
  if (file_) FAIRWAY_TRY(finish_shard());
  return std::move(paths_);
}

}  // namespace fairway::data

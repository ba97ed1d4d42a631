#include "engine/data/tokenize.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "engine/base/progress.h"
#include "engine/data/byte_accounting.h"
#include "engine/data/tokenizer.h"

namespace fairway::data {
namespace {

namespace fs = std::filesystem;

// The folder in which the shards are made; gone when the object goes, unless it has been published.
class StagingFolder {
 public:
  static Result<StagingFolder> create(const std::string& target, FileSystem& system) {
    std::error_code error;
    const bool in_use = fs::exists(target, error) && !fs::is_empty(target, error);
    if (error) return Error{Errc::kIo, target, "cannot look into the folder (" + error.message() + ")"};
    if (in_use) return Error{Errc::kUsage, target, "exists and is not empty; name a new folder for the shards"};
    FAIRWAY_TRY(make_directories(parent_directory(target), system));
    for (int n = 0;; ++n) {
      const std::string path = fmt::format("{}.partial-{}-{}", target, ::getpid(), n);
      if (system.mkdir(path, 0777) == 0) return StagingFolder(target, path, system);
      if (errno != EEXIST) return io_error(path, "create the folder", errno);
    }
  }

  StagingFolder(StagingFolder&& other) noexcept
      : target_(std::move(other.target_)), path_(std::exchange(other.path_, "")), system_(other.system_) {}
  StagingFolder& operator=(StagingFolder&&) = delete;

  ~StagingFolder() {
    std::error_code ignored;  // Nothing can be done about it here, and the error that led here is the one to report.
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }

  const std::string& path() const { return path_; }

  Status publish() {
    if (system_->rename(path_, target_) != 0) return io_error(target_, "rename the finished folder into place", errno);
    path_.clear();
    return sync_directory(parent_directory(target_), *system_);
  }

 private:
  StagingFolder(std::string target, std::string path, FileSystem& system)
      : target_(std::move(target)), path_(std::move(path)), system_(&system) {}
  std::string target_;
  std::string path_;
  FileSystem* system_;
};

Error usage(std::string where, std::string what) { return Error{Errc::kUsage, std::move(where), std::move(what)}; }

Status check_options(const TokenizeOptions& options) {
  if (options.val_documents.has_value() + options.val_fraction.has_value() + options.val_tokens.has_value() != 1) {
    return usage("validation split", "give exactly one of val_documents, val_fraction and val_tokens");
  }
  if (options.val_documents && *options.val_documents <= 0) {
    return usage("val_documents", fmt::format("is {}; give at least 1", *options.val_documents));
  }
  if (options.val_tokens && *options.val_tokens <= 0) {
    return usage("val_tokens", fmt::format("is {}; give at least 1", *options.val_tokens));
  }
  if (options.val_fraction && !(*options.val_fraction > 0.0 && *options.val_fraction < 1.0)) {
    return usage("val_fraction", fmt::format("is {}; give a number between 0 and 1", *options.val_fraction));
  }
  if (options.tokens_per_shard <= 0 || options.tokens_per_shard > kTokensPerShard) {
    return usage("tokens_per_shard", fmt::format("is {}; give 1 to {}", options.tokens_per_shard, kTokensPerShard));
  }
  if (options.format.kind == DocumentFormat::Kind::kSeparated && options.format.separator.empty()) {
    return usage("document_separator", "is empty; give the line that separates documents");
  }
  return {};
}

Result<int64_t> count_documents(const std::string& path, const DocumentFormat& format) {
  FAIRWAY_ASSIGN(DocumentReader reader, DocumentReader::open(path, format));
  std::string text;
  for (int64_t count = 0;; ++count) {
    FAIRWAY_ASSIGN(const bool found, reader.next(text));
    if (!found) return count;
  }
}

// One split being written: its shards and its counts.
struct Split {
  ShardWriter writer;
  SplitCounts counts;

  // `previous` is the token before `tokens` in the whole stream, if there is one.
  Status append(std::span<const uint16_t> tokens, std::optional<uint16_t> previous, const ByteAccounting& accounting) {
    if (tokens.empty()) return {};
    counts.tokens += static_cast<int64_t>(tokens.size());
    if (previous) counts.bytes += accounting.bytes(*previous, tokens.front());
    counts.bytes += accounting.total_bytes(tokens, 0, tokens.size() - 1);
    return writer.append(tokens);
  }
};

}  // namespace

Result<TokenizeCounts> tokenize_corpus(const std::string& text_path, const std::string& model_path,
                                       const std::string& out_dir, const TokenizeOptions& options, FileSystem& system) {
  FAIRWAY_TRY(check_options(options));
  FAIRWAY_ASSIGN(const Tokenizer tokenizer, Tokenizer::load(model_path));
  const ByteAccounting accounting(tokenizer, tokenizer.vocab_size());

  // How far validation reaches, in documents or in tokens; the other limit is not used.
  int64_t val_documents = options.val_documents.value_or(0);
  const int64_t val_tokens = options.val_tokens.value_or(0);
  if (options.val_fraction) {
    FAIRWAY_ASSIGN(const int64_t documents, count_documents(text_path, options.format));
    val_documents = std::max<int64_t>(1, static_cast<int64_t>(*options.val_fraction * static_cast<double>(documents)));
  }

  std::string target = out_dir;
  while (target.size() > 1 && target.back() == '/') target.pop_back();
  FAIRWAY_ASSIGN(StagingFolder staging, StagingFolder::create(target, system));
  const auto split = [&](const char* name) {
    return Split{ShardWriter(staging.path(), options.prefix + name, options.tokens_per_shard, system), {}};
  };
  Split train = split("_train");
  Split val = split("_val");

  std::error_code error;
  const uintmax_t size_bytes = fs::file_size(text_path, error);
  Progress progress("tokenize", error ? 0 : size_bytes, "B");
  FAIRWAY_ASSIGN(DocumentReader reader, DocumentReader::open(text_path, options.format));
  std::string text;
  std::vector<uint16_t> tokens;
  std::optional<uint16_t> previous;
  for (int64_t document = 0;; ++document) {
    FAIRWAY_ASSIGN(const bool found, reader.next(text));
    if (!found) break;
    FAIRWAY_ASSIGN(const std::vector<uint16_t> ids, tokenizer.encode(text));
    tokens.assign(1, tokenizer.bos_id());
    tokens.insert(tokens.end(), ids.begin(), ids.end());

    size_t to_val = document < val_documents ? tokens.size() : 0;
    if (options.val_tokens) {
      to_val =
          static_cast<size_t>(std::min<int64_t>(val_tokens - val.counts.tokens, static_cast<int64_t>(tokens.size())));
    }
    ++(to_val > 0 ? val : train).counts.documents;
    const std::span<const uint16_t> all(tokens);
    FAIRWAY_TRY(val.append(all.first(to_val), previous, accounting));
    if (to_val > 0) previous = all[to_val - 1];
    FAIRWAY_TRY(train.append(all.subspan(to_val), previous, accounting));
    previous = all.back();
    progress.update(reader.bytes_used());
  }

  const int64_t documents = train.counts.documents + val.counts.documents;
  if (documents == 0) return Error{Errc::kData, text_path, "holds no document"};
  if (train.counts.tokens == 0) {
    return usage(text_path,
                 fmt::format("nothing is left to train on: all {} tokens in {} {} would be validation data; {}",
                             val.counts.tokens, documents, documents == 1 ? "document" : "documents",
                             options.val_tokens ? "lower val_tokens" : "lower the share or cut by val_tokens"));
  }
  FAIRWAY_TRY(val.writer.finish());
  FAIRWAY_TRY(train.writer.finish());
  FAIRWAY_TRY(staging.publish());
  return TokenizeCounts{train.counts, val.counts};
}

}  // namespace fairway::data

/// From a text file to a folder of token shards, all or nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/file.h"
#include "engine/base/result.h"
#include "engine/data/document_reader.h"
#include "engine/data/shard.h"

namespace fairway::data {

struct TokenizeOptions {
  DocumentFormat format = DocumentFormat::whole_file();

  /// Files are `<prefix>_train_%06d.bin` and `<prefix>_val_%06d.bin`.
  std::string prefix = "corpus";

  /// What becomes validation data; exactly one of the three is given. The rest, which must not be empty, is for
  /// training.
  std::optional<int64_t> val_documents = {};  ///< the first so many documents
  std::optional<double> val_fraction = {};    ///< the first floor(fraction * documents), at least one; 0 < fraction < 1
  std::optional<int64_t> val_tokens = {};     ///< the first so many tokens, BOS included, even inside a document

  int64_t tokens_per_shard = kTokensPerShard;
};

/// Of one split. A document cut by val_tokens counts where it starts. `bytes` follows ByteAccounting, each token
/// charged with its true predecessor; the very first token has none and no bytes.
struct SplitCounts {
  int64_t documents = 0;
  int64_t tokens = 0;
  uint64_t bytes = 0;
};

struct TokenizeCounts {
  SplitCounts train;
  SplitCounts val;
};

/// Writes every document as [BOS] + encode(text), without EOS, in the order of the file.
///
/// `out_dir` must not exist or be empty. Shards are made in a folder `<out_dir>.partial-<pid>-<n>` beside it, which is
/// renamed at the end and removed on any error: `out_dir` holds the whole corpus or is as it was.
///
/// Errors: kUsage for options that contradict each other, exceed the corpus or leave nothing to train on, and for an
/// `out_dir` in use; kData and kNoInput for the inputs; kIo. Shows progress on a terminal.
Result<TokenizeCounts> tokenize_corpus(const std::string& text_path, const std::string& model_path,
                                       const std::string& out_dir, const TokenizeOptions& options,
                                       FileSystem& system = FileSystem::real());

}  // namespace fairway::data

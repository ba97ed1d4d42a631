#include <fmt/format.h>

#include "engine/data/shard.h"
#include "engine/data/tokenizer.h"
#include "engine/train/trainer.h"

namespace fairway::train {
namespace {

Result<std::vector<Digest>> hash_all(const std::vector<std::string>& paths) {
  std::vector<Digest> digests;
  for (const std::string& p : paths) {
    FAIRWAY_ASSIGN(Digest d, sha256_file(p));
    digests.push_back(d);
  }
  return digests;
}

}  // namespace

Result<DataFiles> open_data(const submission::Submission& s, bool with_training) {
  DataFiles files;
  if (with_training) {
    FAIRWAY_ASSIGN(files.train_paths, data::list_shards(s.data.path, s.data.prefix + "_train"));
    FAIRWAY_ASSIGN(files.train_sha256, hash_all(files.train_paths));
  }
  FAIRWAY_ASSIGN(files.val_paths, data::list_shards(s.data.path, s.data.prefix + "_val"));
  FAIRWAY_ASSIGN(files.val_sha256, hash_all(files.val_paths));
  FAIRWAY_ASSIGN(files.tokenizer_sha256, sha256_file(s.data.tokenizer));
  return files;
}

Result<Validation> open_validation(const submission::Submission& s, const DataFiles& files) {
  FAIRWAY_ASSIGN(auto tokenizer, data::Tokenizer::load(s.data.tokenizer));
  if (tokenizer.vocab_size() != s.model.vocab_size) {
    return Error{Errc::kData, s.data.tokenizer,
                 fmt::format("the tokenizer has {} pieces, model.vocab_size is {}; use the tokenizer the shards were made with",
                             tokenizer.vocab_size(), s.model.vocab_size)};
  }
  const int32_t vocab = static_cast<int32_t>(s.model.vocab_size);
  FAIRWAY_ASSIGN(auto set, data::ValidationSet::load(files.val_paths, vocab, s.eval.seq_len));
  return Validation{std::move(set), data::ByteAccounting(tokenizer, vocab)};
}

}  // namespace fairway::train

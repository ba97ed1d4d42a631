#include "engine/model/ops/hash_embedding.h"

namespace fairway::model {

Status HashEmbedding::forward(Tape& tape) {
  const Batch& b = tape.batch();
  const uint64_t buckets = static_cast<uint64_t>(table_.rows());
  const int64_t tokens = b.tokens(), width = table_.columns();
  bigrams_.resize(static_cast<size_t>(tokens));
  trigrams_of_.resize(trigrams_ ? bigrams_.size() : 0);
  for (size_t t = 0; t < bigrams_.size(); ++t) {
    const int64_t position = static_cast<int64_t>(t) % b.length;
    const uint64_t previous = position > 0 ? b.inputs[t - 1] : 0u;
    bigrams_[t] = static_cast<uint16_t>(ops::bigram_bucket(hash_, position == 0, previous, b.inputs[t], buckets));
    if (!trigrams_) continue;
    const uint64_t before = position > 1 ? b.inputs[t - 2] : 0u;
    trigrams_of_[t] = static_cast<uint16_t>(ops::trigram_bucket(position < 2, before, previous, b.inputs[t], buckets));
  }
  kernels::Executor& x = tape.executor();
  bigram_ids_ = x.stage(std::span<const uint16_t>(bigrams_), staged_bigrams_, "hashed tokens");
  if (!trigrams_) {
    x.gather_rows(table_.data(), bigram_ids_, tokens, width, tape.data(out_));
    return {};
  }
  trigram_ids_ = x.stage(std::span<const uint16_t>(trigrams_of_), staged_trigrams_, "hashed tokens");
  tape.resize(bigram_rows_, tokens * width);
  tape.resize(trigram_rows_, tokens * width);
  x.gather_rows(table_.data(), bigram_ids_, tokens, width, bigram_rows_.data());
  x.gather_rows(table_.data(), trigram_ids_, tokens, width, trigram_rows_.data());
  x.add(bigram_rows_.data(), trigram_rows_.data(), tokens * width, tape.data(out_));
  return {};
}

Status HashEmbedding::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const float* dy = tape.gradient(out_);
  auto scatter = [&](const uint16_t* ids) {
    return tape.executor().accumulate_gathered(dy, ids, b.tokens(), table_.columns(), b.term_limit, table_.gradient());
  };
  if (!scatter(bigram_ids_) || (trigrams_ && !scatter(trigram_ids_))) return bad_value(kGradientTooLarge);
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

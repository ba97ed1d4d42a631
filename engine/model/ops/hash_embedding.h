/// y[t] = table[bucket of the token and its predecessors]: bigrams, and on request plus the row of the trigram.
///
/// Predecessors are those of the same sequence. Backward: every token's gradient row is added to the accumulators of its rows.
#pragma once

#include <vector>

#include "engine/model/parameter.h"
#include "engine/model/tape.h"
#include "kernels/ops/token_hash.h"

namespace fairway::model {

class HashEmbedding : public Op {
 public:
  HashEmbedding(Parameter& table, ops::BigramHash hash, bool trigrams, ValueId out)
      : Op(table.name()), table_(table), hash_(hash), trigrams_(trigrams), out_(out) {}
  std::vector<Parameter*> trains() const override { return {&table_}; }
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  Parameter& table_;
  ops::BigramHash hash_;
  bool trigrams_;
  ValueId out_;
  std::vector<uint16_t> bigrams_, trigrams_of_;
  kernels::Buffer<uint16_t> staged_bigrams_, staged_trigrams_;
  const uint16_t *bigram_ids_ = nullptr, *trigram_ids_ = nullptr;  ///< where the executor reads them
  kernels::Buffer<float> bigram_rows_, trigram_rows_;
};

}  // namespace fairway::model

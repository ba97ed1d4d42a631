/// Per-document adapters trained at test time, and global phases between documents (NUMERICS.md, 28.4 and 28.5; the record of
/// 2026-03-17, PR #1530, #1610 and #1626).
#pragma once

#include <memory>
#include <vector>

#include "engine/eval/procedures/learner.h"
#include "engine/eval/procedures/procedures.h"

namespace fairway::eval {

/// A document: where it starts and how many predictions are its own, that of the next document's first token included.
struct Document {
  int64_t start = 0, predictions = 0;
};

class LoraTtt : public Procedure {
 public:
  /// `queue`: the documents in scoring order. `reset`: adapters start anew with every document.
  LoraTtt(const EvalConfig& config, model::Gpt& base, std::vector<Document> queue, bool reset);
  Result<bool> step(Harness& harness) override;
  void archive_state(Archive& archive) override;
  void archive_position(Archive& archive) override { archive.value(document_), archive.value(chunk_), archive.value(phase_); }

 private:
  void initialise_adapters();
  Status score_chunk(Harness& harness, const Document& d);
  Result<bool> run_phase(Harness& harness);

  EvalConfig config_;
  std::vector<Document> queue_;
  bool reset_, phased_;
  std::unique_ptr<model::Gpt> model_;  ///< the weights with adapters
  AdapterAdam adam_;
  int64_t document_ = 0, chunk_ = 0, phase_ = 0;
};

/// The documents of a stream, in stream order or shortest first (equal lengths in stream order). Error kData without any.
Result<std::vector<Document>> document_queue(int64_t predictions, const std::vector<int64_t>& starts, bool by_length);

}  // namespace fairway::eval

#include "engine/model/ops/embedding.h"

namespace fairway::model {

Status Embedding::forward(Tape& tape) {
  tape.executor().gather_rows(table_.data(), tape.inputs(), tape.batch().tokens(), table_.columns(), tape.data(out_));
  return {};
}

Status Embedding::backward(Tape& tape) {
  const Batch& b = tape.batch();
  if (!tape.executor().accumulate_gathered(tape.gradient(out_), tape.inputs(), b.tokens(), table_.columns(), b.term_limit,
                                    table_.gradient())) {
    return bad_value(kGradientTooLarge);
  }
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

#include "engine/model/ops/embedding.h"

#include "kernels/accumulate.h"
#include "kernels/elementwise.h"

namespace fairway::model {

Status Embedding::forward(Tape& tape) {
  kernels::gather_rows(table_.value(), tape.batch().inputs.data(), tape.batch().tokens(), table_.columns(), tape.data(out_));
  return {};
}

Status Embedding::backward(Tape& tape) {
  const Batch& b = tape.batch();
  if (!kernels::accumulate_gathered(tape.gradient(out_), b.inputs.data(), b.tokens(), table_.columns(), b.term_limit,
                                    table_.gradient())) {
    return bad_value(kGradientTooLarge);
  }
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

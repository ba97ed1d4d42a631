#include "engine/model/ops/relu_squared.h"

namespace fairway::model {

Status ReluSquared::forward(Tape& tape) {
  tape.executor().relu_squared(tape.data(in_), tape.batch().tokens() * tape.width(in_), tape.data(out_));
  return {};
}

Status ReluSquared::backward(Tape& tape) {
  const float* dh = tape.gradient(out_);
  FAIRWAY_TRY(tape.contribute(in_, [&](float* da) -> Status {
    tape.executor().relu_squared_backward(tape.data(in_), dh, tape.batch().tokens() * tape.width(in_), da);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

#include "engine/model/ops/leaky_relu_squared.h"

namespace fairway::model {

Status LeakyReluSquared::forward(Tape& tape) {
  tape.executor().leaky_relu_squared(tape.data(in_), slope_, tape.batch().tokens() * tape.width(in_), tape.data(out_));
  return {};
}

Status LeakyReluSquared::backward(Tape& tape) {
  const float* dh = tape.gradient(out_);
  FAIRWAY_TRY(tape.contribute(in_, [&](float* da) -> Status {
    tape.executor().leaky_relu_squared_backward(tape.data(in_), slope_, dh, tape.batch().tokens() * tape.width(in_), da);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

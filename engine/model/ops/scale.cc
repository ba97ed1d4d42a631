#include "engine/model/ops/scale.h"

namespace fairway::model {

Status Scale::forward(Tape& tape) {
  tape.executor().scale(tape.data(in_), s_, tape.batch().tokens() * tape.width(in_), tape.data(out_));
  return {};
}

Status Scale::backward(Tape& tape) {
  const float* dy = tape.gradient(out_);
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
    tape.executor().scale(dy, s_, tape.batch().tokens() * tape.width(in_), dx);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

#include "engine/model/ops/sum.h"

namespace fairway::model {

Status Sum::forward(Tape& tape) {
  tape.executor().add(tape.data(a_), tape.data(b_), tape.batch().tokens() * tape.width(out_), tape.data(out_));
  return {};
}

Status Sum::backward(Tape& tape) {
  const float* dy = tape.gradient(out_);
  tape.contribute_copy(b_, dy);
  tape.contribute_copy(a_, dy);
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

#include "engine/model/ops/scalar_scale.h"

#include "engine/model/ops/token_terms.h"

namespace fairway::model {

Status ScalarScale::forward(Tape& tape) {
  tape.executor().scale_by(tape.data(in_), s_.data(), tape.batch().tokens() * tape.width(in_), tape.data(out_));
  return {};
}

Status ScalarScale::backward(Tape& tape) {
  const int64_t width = tape.width(in_);
  const float* dy = tape.gradient(out_);
  if (const char* wrong = accumulate_token_dots(tape, dy, tape.data(in_), width, terms_, s_.gradient())) return bad_value(wrong);
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
    tape.executor().scale_by(dy, s_.data(), tape.batch().tokens() * width, dx);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

Status ScalarAdd::forward(Tape& tape) {
  tape.executor().add_scaled(tape.data(x_), s_.data(), tape.data(a_), tape.batch().tokens() * tape.width(out_), tape.data(out_));
  return {};
}

Status ScalarAdd::backward(Tape& tape) {
  const int64_t width = tape.width(out_);
  const float* dy = tape.gradient(out_);
  if (const char* wrong = accumulate_token_dots(tape, dy, tape.data(a_), width, terms_, s_.gradient())) return bad_value(wrong);
  FAIRWAY_TRY(tape.contribute(a_, [&](float* da) -> Status {
    tape.executor().scale_by(dy, s_.data(), tape.batch().tokens() * width, da);
    return {};
  }));
  tape.contribute_copy(x_, dy);
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

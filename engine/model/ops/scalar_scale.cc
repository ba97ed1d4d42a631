#include "engine/model/ops/scalar_scale.h"

#include "engine/model/ops/token_terms.h"
#include "kernels/elementwise.h"

namespace fairway::model {

Status ScalarScale::forward(Tape& tape) {
  kernels::scale(tape.data(in_), s_.value()[0], tape.batch().tokens() * tape.width(in_), tape.data(out_));
  return {};
}

Status ScalarScale::backward(Tape& tape) {
  const int64_t width = tape.width(in_);
  const float* dy = tape.gradient(out_);
  if (const char* wrong = accumulate_token_dots(tape.batch(), dy, tape.data(in_), width, terms_, s_.gradient())) return bad_value(wrong);
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
    kernels::scale(dy, s_.value()[0], tape.batch().tokens() * width, dx);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

Status ScalarAdd::forward(Tape& tape) {
  kernels::add_scaled(tape.data(x_), s_.value()[0], tape.data(a_), tape.batch().tokens() * tape.width(out_), tape.data(out_));
  return {};
}

Status ScalarAdd::backward(Tape& tape) {
  const int64_t width = tape.width(out_);
  const float* dy = tape.gradient(out_);
  if (const char* wrong = accumulate_token_dots(tape.batch(), dy, tape.data(a_), width, terms_, s_.gradient())) return bad_value(wrong);
  FAIRWAY_TRY(tape.contribute(a_, [&](float* da) -> Status {
    kernels::scale(dy, s_.value()[0], tape.batch().tokens() * width, da);
    return {};
  }));
  tape.contribute_copy(x_, dy);
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

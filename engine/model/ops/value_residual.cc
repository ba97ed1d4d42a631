#include "engine/model/ops/value_residual.h"

#include "engine/model/ops/token_terms.h"

namespace fairway::model {

Status ValueResidual::forward(Tape& tape) {
  tape.executor().mix_scalars(tape.data(v0_), tape.data(v_), lambda_.data(), tape.batch().tokens() * tape.width(out_), tape.data(out_));
  return {};
}

Status ValueResidual::backward(Tape& tape) {
  const int64_t width = tape.width(out_), count = tape.batch().tokens() * width;
  const float* dy = tape.gradient(out_);
  for (const auto& [input, row] : {std::pair{v0_, 0}, std::pair{v_, 1}}) {
    if (const char* wrong = accumulate_token_dots(tape, dy, tape.data(input), width, terms_, lambda_.gradient() + row)) {
      return bad_value(wrong);
    }
  }
  for (const auto& [input, row] : {std::pair{v_, 1}, std::pair{v0_, 0}}) {
    FAIRWAY_TRY(tape.contribute(input, [&, row = row](float* dx) -> Status {
      tape.executor().scale_by(dy, lambda_.data() + row, count, dx);
      return {};
    }));
  }
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

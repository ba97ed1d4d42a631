#include "engine/model/ops/rms_norm.h"

namespace fairway::model {

Status RmsNorm::forward(Tape& tape) {
  const int64_t rows = tape.batch().tokens() * (tape.width(in_) / group_);
  tape.resize(factor_, rows);
  if (!tape.executor().rms_norm(tape.data(in_), rows, group_, tape.data(out_), factor_.data())) return bad_value(kNotFinite);
  return {};
}

Status RmsNorm::backward(Tape& tape) {
  const int64_t rows = tape.batch().tokens() * (tape.width(in_) / group_);
  const float* dy = tape.gradient(out_);
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
    if (!tape.executor().rms_norm_backward(dy, tape.data(out_), factor_.data(), rows, group_, dx)) return bad_value(kNotFinite);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

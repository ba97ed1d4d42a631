#include "engine/model/ops/unit_norm.h"

namespace fairway::model {

Status UnitNorm::forward(Tape& tape) {
  const int64_t rows = tape.batch().tokens() * (tape.width(in_) / group_);
  tape.resize(norm_, rows);
  if (!tape.executor().unit_rows(tape.data(in_), rows, group_, tape.data(out_), norm_.data())) return bad_value(kNotFinite);
  return {};
}

Status UnitNorm::backward(Tape& tape) {
  const int64_t rows = tape.batch().tokens() * (tape.width(in_) / group_);
  const float* dy = tape.gradient(out_);
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
    if (!tape.executor().unit_rows_backward(dy, tape.data(out_), norm_.data(), rows, group_, dx)) return bad_value(kNotFinite);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

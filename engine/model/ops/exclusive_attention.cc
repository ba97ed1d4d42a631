#include "engine/model/ops/exclusive_attention.h"

namespace fairway::model {

Status ExclusiveAttention::forward(Tape& tape) {
  const int64_t tokens = tape.batch().tokens();
  tape.resize(unit_, tokens * tape.width(v_));
  tape.resize(norm_, tokens * config_.kv_heads);
  tape.resize(along_, tokens * config_.heads);
  if (!tape.executor().exclude_value({tokens, config_.heads, config_.kv_heads, config_.head_dim()}, tape.data(o_), tape.data(v_), unit_.data(),
                              norm_.data(), along_.data(), tape.data(out_))) {
    return bad_value(kNotFinite);
  }
  return {};
}

Status ExclusiveAttention::backward(Tape& tape) {
  const float* dy = tape.gradient(out_);
  // v, then o: the reverse of the order of use.
  FAIRWAY_TRY(tape.contribute(v_, [&](float* dv) -> Status {
    return tape.contribute(o_, [&](float* d_o) -> Status {
      if (!tape.executor().exclude_value_backward({tape.batch().tokens(), config_.heads, config_.kv_heads, config_.head_dim()}, dy, tape.data(o_),
                                           unit_.data(), norm_.data(), along_.data(), d_o, dv)) {
        return bad_value(kNotFinite);
      }
      return {};
    });
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

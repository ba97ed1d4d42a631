#include "engine/model/ops/attention.h"

namespace fairway::model {
namespace {

kernels::AttentionShape shape_of(const ModelConfig& c, const Batch& b) {
  return {b.sequences, b.length, c.heads, c.kv_heads, c.head_dim(), c.attention};
}

}  // namespace

Status Attention::forward(Tape& tape) {
  const Batch& b = tape.batch();
  tape.resize(row_max_, b.tokens() * config_.heads);
  tape.resize(row_units_, b.tokens() * config_.heads);
  kernels::AttentionForward a{shape_of(config_, b), tape.data(q_), tape.data(k_), tape.data(v_),
                              tape.data(out_),      row_max_.data(), row_units_.data()};
  const bool ok = b.attention != nullptr ? b.attention->attend(label(), a) : tape.executor().attention_forward(a);
  if (!ok) return bad_value(kNotFinite);
  return {};
}

Status Attention::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const float* dout = tape.gradient(out_);
  // v, k, q: the reverse of the order of use; each has this one consumer.
  return tape.contribute(v_, [&](float* dv) -> Status {
    return tape.contribute(k_, [&](float* dk) -> Status {
      FAIRWAY_TRY(tape.contribute(q_, [&](float* dq) -> Status {
        kernels::AttentionBackward a{shape_of(config_, b), tape.data(q_),   tape.data(k_), tape.data(v_), dout,
                                     row_max_.data(),      row_units_.data(), dq,            dk,            dv};
        if (!tape.executor().attention_backward(a)) return bad_value(kNotFinite);
        return {};
      }));
      tape.release_gradient(out_);
      return {};
    });
  });
}

}  // namespace fairway::model

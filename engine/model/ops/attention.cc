#include "engine/model/ops/attention.h"

#include "kernels/attention.h"

namespace fairway::model {
namespace {

kernels::AttentionShape shape_of(const ModelConfig& c, const Batch& b) {
  return {b.sequences, b.length, c.heads, c.kv_heads, c.head_dim(), c.attention};
}

}  // namespace

Status Attention::forward(Tape& tape) {
  const Batch& b = tape.batch();
  row_max_.resize(static_cast<size_t>(b.tokens() * config_.heads));
  row_units_.resize(static_cast<size_t>(b.tokens() * config_.heads));
  kernels::AttentionForward a{shape_of(config_, b), tape.data(q_), tape.data(k_), tape.data(v_),
                              tape.data(out_),      row_max_.data(), row_units_.data()};
  const bool ok = b.attention != nullptr ? b.attention->attend(label(), a) : kernels::attention_forward(a);
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
        if (!kernels::attention_backward(a)) return bad_value(kNotFinite);
        return {};
      }));
      tape.release_gradient(out_);
      return {};
    });
  });
}

}  // namespace fairway::model

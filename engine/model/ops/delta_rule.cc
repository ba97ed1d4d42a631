#include "engine/model/ops/delta_rule.h"

namespace fairway::model {
namespace {

kernels::DeltaShape shape_of(const Tape& tape, const DeltaRule::Inputs& in) {
  const int64_t heads = tape.width(in.decay);
  return {tape.batch().sequences, tape.batch().length, heads, tape.width(in.q) / heads, tape.width(in.v) / heads};
}

}  // namespace

Status DeltaRule::forward(Tape& tape) {
  const kernels::DeltaForward d{shape_of(tape, in_),  tape.data(in_.q),    tape.data(in_.k), tape.data(in_.v),
                                tape.data(in_.decay), tape.data(in_.beta), tape.data(out_)};
  if (!tape.executor().delta_rule(d)) return bad_value(kNotFinite);
  return {};
}

Status DeltaRule::backward(Tape& tape) {
  kernels::DeltaBackward d{shape_of(tape, in_),
                           tape.data(in_.q),
                           tape.data(in_.k),
                           tape.data(in_.v),
                           tape.data(in_.decay),
                           tape.data(in_.beta),
                           tape.gradient(out_),
                           nullptr,
                           nullptr,
                           nullptr,
                           nullptr,
                           nullptr};
  // beta, decay, v, k, q: the reverse of the order of use; each has this one consumer.
  FAIRWAY_TRY(tape.contribute(in_.beta, [&](float* dbeta) -> Status {
    d.dbeta = dbeta;
    return tape.contribute(in_.decay, [&](float* ddecay) -> Status {
      d.ddecay = ddecay;
      return tape.contribute(in_.v, [&](float* dv) -> Status {
        d.dv = dv;
        return tape.contribute(in_.k, [&](float* dk) -> Status {
          d.dk = dk;
          return tape.contribute(in_.q, [&](float* dq) -> Status {
            d.dq = dq;
            if (!tape.executor().delta_rule_backward(d)) return bad_value(kNotFinite);
            return {};
          });
        });
      });
    });
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

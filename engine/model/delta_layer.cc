#include "engine/model/delta_layer.h"

#include "engine/model/ops/delta_gates.h"
#include "engine/model/ops/delta_rule.h"
#include "engine/model/ops/linear.h"
#include "engine/model/ops/rms_norm.h"
#include "engine/model/ops/scale.h"
#include "engine/model/ops/short_convolution.h"
#include "engine/model/ops/swish_gate.h"
#include "engine/model/ops/unit_norm.h"
#include "kernels/num/float_bits.h"

namespace fairway::model {

ValueId add_delta_layer(Tape& tape, const ModelConfig& c, const DeltaParameters& p, const std::string& name,
                        ValueId n) {
  const int64_t heads = c.delta_heads, keys = heads * c.delta_key_dim, values = heads * c.delta_value_dim;
  const ValueId q_raw = tape.add_value(keys), k_raw = tape.add_value(keys), v_raw = tape.add_value(values),
                a = tape.add_value(heads), b = tape.add_value(heads), gate = tape.add_value(values);
  tape.add_op(std::make_unique<Linear>(
      name + ".in_proj", c, n,
      std::vector<Linear::Branch>{{p.q, q_raw}, {p.k, k_raw}, {p.v, v_raw}, {p.a, a}, {p.b, b}, {p.gate, gate}}));
  auto convolved = [&](Parameter& taps, ValueId in) {
    const ValueId out = tape.add_value(tape.width(in));
    tape.add_op(std::make_unique<ShortConvolution>(taps, in, out));
    return out;
  };
  auto unit = [&](const char* suffix, ValueId in) {
    const ValueId out = tape.add_value(keys);
    tape.add_op(std::make_unique<UnitNorm>(name + suffix, c.delta_key_dim, in, out));
    return out;
  };
  const ValueId q_conv = convolved(*p.q_taps, q_raw), k_conv = convolved(*p.k_taps, k_raw),
                v = convolved(*p.v_taps, v_raw);
  const ValueId q_unit = unit(".q_unit", q_conv), k = unit(".k_unit", k_conv), q = tape.add_value(keys);
  const float scale = static_cast<float>(1.0 / num::sqrt(static_cast<double>(c.delta_key_dim)));
  tape.add_op(std::make_unique<Scale>(name + ".q_scale", scale, q_unit, q));
  const ValueId decay = tape.add_value(heads), beta = tape.add_value(heads);
  tape.add_op(std::make_unique<DeltaGates>(*p.a_log, *p.dt_bias, a, b, decay, beta));
  const ValueId o = tape.add_value(values), normed = tape.add_value(values), gated = tape.add_value(values),
                out = tape.add_value(c.width);
  tape.add_op(std::make_unique<DeltaRule>(name + ".delta_rule", DeltaRule::Inputs{q, k, v, decay, beta}, o));
  tape.add_op(std::make_unique<RmsNorm>(name + ".o_norm", o, normed, c.delta_value_dim));
  tape.add_op(std::make_unique<SwishGate>(*p.norm, normed, gate, gated));
  tape.add_op(std::make_unique<Linear>(name + ".o_proj", c, gated, std::vector<Linear::Branch>{{p.out, out}}));
  return out;
}

}  // namespace fairway::model

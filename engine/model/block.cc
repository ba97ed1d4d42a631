#include "engine/model/block.h"

#include <fmt/format.h>

#include "engine/model/delta_layer.h"
#include "engine/model/ops/attention.h"
#include "engine/model/ops/channel_scale.h"
#include "engine/model/ops/exclusive_attention.h"
#include "engine/model/ops/head_gain.h"
#include "engine/model/ops/head_gate.h"
#include "engine/model/ops/interpolate.h"
#include "engine/model/ops/leaky_relu_squared.h"
#include "engine/model/ops/linear.h"
#include "engine/model/ops/relu_squared.h"
#include "engine/model/ops/residual.h"
#include "engine/model/ops/rms_norm.h"
#include "engine/model/ops/rope.h"
#include "engine/model/ops/scalar_scale.h"
#include "engine/model/ops/scale.h"
#include "engine/model/ops/sum.h"
#include "engine/model/ops/unit_norm.h"
#include "engine/model/ops/value_residual.h"
#include "kernels/num/float_bits.h"

namespace fairway::model {
namespace {

class BlockBuilder {
 public:
  BlockBuilder(Tape& tape, const ModelConfig& config, const Layout& layout, Adapters& adapters, int64_t pass,
               int64_t layer, SharedValues& shared)
      : tape_(tape),
        c_(config),
        layout_(layout),
        adapters_(adapters),
        p_(layout.blocks[static_cast<size_t>(layer)]),
        pass_(pass),
        layer_(layer),
        shared_(shared),
        name_(fmt::format("blocks.{}", layer)) {}

  ValueId run(ValueId x) {
    if (c_.hypersphere) return run_on_sphere(x);
    const int64_t d = c_.width;
    const ValueId u = add<ResidualMix>(d, *p_.mix, x, shared_.x0);
    const ValueId a = attention(normalised(u, ".attn_norm"));
    ValueId y = add<ScaledAdd>(d, *p_.attn_scale, 0, u, a);
    for (int64_t k = 0; k < c_.mlp_blocks; ++k) y = add<ScaledAdd>(d, *p_.mlp_scale, k, y, mlp(normalised(y, c_.mlp_name(k) + "_norm"), k));
    return y;
  }

 private:
  ValueId run_on_sphere(ValueId x) {
    ValueId y = sphere_step("attn", *p_.attn_scale, 0, x, attention(x));
    for (int64_t k = 0; k < c_.mlp_blocks; ++k) y = sphere_step(c_.mlp_name(k).substr(1), *p_.mlp_scale, k, y, mlp(y, k));
    return y;
  }
  ValueId sphere_step(std::string_view what, Parameter& rate, int64_t row, ValueId x, ValueId a) {
    const ValueId u = add<UnitNorm>(c_.width, label(fmt::format(".{}_unit", what)), c_.width, a);
    const ValueId moved = add<Interpolate>(c_.width, rate, row, c_.sphere_step_factor(), x, u);
    return add<UnitNorm>(c_.width, label(fmt::format(".{}_step", what)), c_.width, moved);
  }

  /// An operation whose last argument is its output, a new value of this width.
  template <class O, class... Arguments>
  ValueId add(int64_t width, Arguments&&... arguments) {
    const ValueId out = tape_.add_value(width);
    tape_.add_op(std::make_unique<O>(std::forward<Arguments>(arguments)..., out));
    return out;
  }
  std::string label(std::string_view suffix) const { return fmt::format("{}{}", name_, suffix); }

  ValueId norm(std::string_view suffix, ValueId in, int64_t group) {
    const ValueId out = tape_.add_value(tape_.width(in));
    tape_.add_op(std::make_unique<RmsNorm>(label(suffix), in, out, group));
    return out;
  }

  ValueId normalised(ValueId in, std::string_view suffix) {
    const ValueId n = norm(suffix, in, c_.width);
    if (!c_.ln_scale) return n;
    const float s = static_cast<float>(1.0 / num::sqrt(static_cast<double>(layer_ + 1)));
    return add<Scale>(c_.width, label(suffix), s, n);
  }

  ValueId adapted(bool wanted, std::string_view projection, ValueId in, ValueId out) {
    return adapters_.adapt(tape_, wanted, label(projection), in, out);
  }

  ValueId linear(std::string_view suffix, Parameter& weight, ValueId in) { return product(label(suffix), weight, in); }
  ValueId product(std::string name, Parameter& weight, ValueId in) {
    const ValueId out = tape_.add_value(weight.outputs());
    tape_.add_op(std::make_unique<Linear>(std::move(name), c_, in, std::vector<Linear::Branch>{{&weight, out}}));
    return out;
  }

  /// y, or with additions of the pass: y + (in a) b.
  ValueId of_pass(BlockParameters::LowRank BlockParameters::PassParameters::*which, ValueId in, ValueId y) {
    if (p_.passes.empty()) return y;
    const BlockParameters::LowRank& m = p_.passes[static_cast<size_t>(pass_)].*which;
    const ValueId addition = product(m.b->name(), *m.b, product(m.a->name(), *m.a, in));
    return add<Sum>(tape_.width(y), m.b->name(), y, addition);
  }

  ValueId rotated(const char* suffix, ValueId in, int64_t heads) {
    const ValueId out = tape_.add_value(tape_.width(in));
    const Rope::Angles angles{c_.rotated_dims(), c_.rope_base, c_.rope_bf16_frequencies, c_.rope_reference_length};
    tape_.add_op(std::make_unique<Rope>(label(suffix), in, out, heads, angles));
    return out;
  }

  /// The layer's values as attention and exclusion use them.
  ValueId values(ValueId raw) {
    ValueId v = raw;
    if (const int64_t k = c_.value_layer_index(layer_); k >= 0) {
      v = add<ScalarAdd>(c_.kv_width(), *layout_.value_layer_scales[static_cast<size_t>(k)], v, shared_.value_embedding);
    }
    if (!c_.value_residual) return v;
    if (shared_.first_values < 0) {
      shared_.first_values = v;
      return v;
    }
    return add<ValueResidual>(c_.kv_width(), *p_.value_lambda, shared_.first_values, v);
  }

  ValueId attention(ValueId n) {
    if (c_.is_delta_layer(layer_)) return add_delta_layer(tape_, c_, p_.delta, label(".attn"), n);
    const int64_t d = c_.width, kv = c_.kv_width();
    ValueId q = tape_.add_value(d), k = tape_.add_value(kv), raw = tape_.add_value(kv);
    std::vector<Linear::Branch> branches{{p_.q, q}, {p_.k, k}, {p_.v, raw}};
    ValueId gate = -1;
    if (c_.gated_attention) {
      gate = tape_.add_value(c_.heads);
      branches.push_back({p_.gate_weight, gate});
    }
    tape_.add_op(std::make_unique<Linear>(label(".attn.c_qkv"), c_, n, branches));
    using Pass = BlockParameters::PassParameters;
    q = adapted(adapters_.config().query, ".attn.c_q", n, of_pass(&Pass::q, n, q));
    k = adapted(adapters_.config().key, ".attn.c_k", n, of_pass(&Pass::k, n, k));
    raw = adapted(adapters_.config().value, ".attn.c_v", n, of_pass(&Pass::v, n, raw));
    const ValueId v = values(raw);
    const ValueId qn = norm(".attn.q_norm", q, c_.head_dim()), kn = norm(".attn.k_norm", k, c_.head_dim());
    const ValueId qr = rotated(".attn.q_rope", qn, c_.heads), kr = rotated(".attn.k_rope", kn, c_.kv_heads);
    const ValueId qg = add<HeadGain>(d, *p_.gain, qr);
    ValueId o = add<Attention>(d, label(".attn"), c_, qg, kr, v);
    if (c_.excludes_values(layer_)) o = add<ExclusiveAttention>(d, label(".attn.xsa"), c_, o, v);
    if (c_.gated_attention) o = add<HeadGate>(d, *p_.gate_bias, o, gate);
    return adapted(adapters_.config().out, ".attn.proj", o, of_pass(&Pass::out, o, linear(".attn.proj", *p_.out, o)));
  }

  ValueId mlp(ValueId m, int64_t k) {
    const bool adapt = adapters_.config().mlp;
    const BlockParameters::Mlp& weights = p_.mlp[static_cast<size_t>(k)];
    const std::string name = c_.mlp_name(k), up = name + ".fc", down = name + ".proj";
    ValueId h = adapted(adapt, up, m, linear(up, *weights.up, m));
    if (weights.up_scale != nullptr) h = add<ChannelScale>(tape_.width(h), *weights.up_scale, c_.sphere_factor(), h);
    const int64_t hidden = tape_.width(h);
    const ValueId g = c_.mlp_slope == 0.0f ? add<ReluSquared>(hidden, label(name), h)
                                           : add<LeakyReluSquared>(hidden, label(name), c_.mlp_slope, h);
    return adapted(adapt, down, g, linear(down, *weights.down, g));
  }

  Tape& tape_;
  const ModelConfig& c_;
  const Layout& layout_;
  Adapters& adapters_;
  const BlockParameters& p_;
  int64_t pass_, layer_;
  SharedValues& shared_;
  std::string name_;
};

}  // namespace

ValueId add_block(Tape& tape, const ModelConfig& config, const Layout& layout, Adapters& adapters, int64_t pass,
                  int64_t layer, ValueId x, SharedValues& shared) {
  return BlockBuilder(tape, config, layout, adapters, pass, layer, shared).run(x);
}

}  // namespace fairway::model

#include "engine/model/layout.h"

#include <fmt/format.h>

#include "kernels/num/float_bits.h"
#include "kernels/ops/delta_rule.h"
#include "kernels/ops/smear.h"

namespace fairway::model {
namespace {

using Kind = InitialValue::Kind;

/// Smallest dimension of a matrix that the selective orthogonal rules draw orthogonally.
constexpr int64_t kOrthogonalFrom = 64;

class Registrar {
 public:
  Registrar(const ModelConfig& config, std::vector<std::unique_ptr<Parameter>>& parameters) : c_(config), parameters_(parameters) {}

  Layout run() {
    Layout m;
    if (c_.unet_skips) m.skips = &add("skip_weights", {c_.skip_count(), c_.width}, Group::kScalar, constant(1.0f));
    m.embedding = &table("tok_emb.weight", c_.vocab_size, c_.width, normal(c_.embed_init_std));
    if (c_.tied_head) m.embedding->set_forward_bits(kernels::bits_of_products(c_.head));
    on_sphere(*m.embedding, UnitVectors::kRows);
    // The script that keeps the token's own vector builds the bigram first, like the scripts that call the modules bigram and smear.
    const bool smear_first = c_.smear == SmearForm::kFirstChannels || named_like_hash_scripts();
    if (smear_first) smear(m);
    if (c_.bigram_buckets > 0) bigram(m);
    if (!smear_first) smear(m);
    for (int64_t layer = 0; layer < c_.layers; ++layer) m.blocks.push_back(block(layer));
    if (c_.loop_lora_rank > 0) loop_adapters(m);
    if (c_.value_dim > 0) value_embedding(m);
    if (!c_.tied_head) {
      m.head = &output_matrix("lm_head.weight", Group::kHead);
      on_sphere(*m.head, UnitVectors::kRows);
    }
    if (c_.hypersphere) m.logit_scale = &add("logit_scale", {c_.vocab_size}, Group::kScalar, constant(sphere_start()));
    for (int64_t k = 0; k < c_.mtp_heads; ++k) {
      const std::string name = fmt::format("mtp_heads.{}.weight", k);
      m.mtp_heads.push_back(c_.mtp_square ? &matrix(name, c_.width, c_.width, Group::kMatrix, constant(0.0f))
                                          : &output_matrix(name, Group::kMatrix));
      m.mtp_heads.back()->set_fake_quantised(false);
    }
    return m;
  }

 private:
  static InitialValue constant(float value) { return {Kind::kConstant, value}; }
  static InitialValue normal(float std) { return {Kind::kNormal, std}; }

  Parameter& add(std::string name, std::vector<int64_t> shape, Group group, InitialValue initial, bool bf16 = false) {
    parameters_.push_back(std::make_unique<Parameter>(std::move(name), std::move(shape), group, bf16));
    parameters_.back()->set_initial(initial);
    return *parameters_.back();
  }
  Parameter& table(std::string name, int64_t rows, int64_t columns, InitialValue initial) {
    return add(std::move(name), {rows, columns}, Group::kEmbedding, initial, c_.embed_bf16);
  }
  Parameter& matrix(std::string name, int64_t out, int64_t in, Group group, InitialValue initial, bool bf16 = false) {
    Parameter& p = add(std::move(name), {out, in}, group, initial, bf16);
    p.set_forward_bits(kernels::bits_of_products(c_.linear));
    const bool projection = name_is_projection(p.name());
    p.set_fake_quantised(projection || c_.qat_scope == QatScope::kAllMatrices);
    return p;
  }
  Parameter& output_matrix(std::string name, Group group) {
    Parameter& p = add(std::move(name), {c_.vocab_size, c_.width}, group, constant(0.0f));
    p.set_forward_bits(kernels::bits_of_products(c_.head));
    return p;
  }

  void on_sphere(Parameter& p, UnitVectors which) const {
    if (c_.hypersphere) p.set_unit_vectors(which);
  }
  float sphere_start() const { return static_cast<float>(1.0 / num::sqrt(static_cast<double>(c_.width))); }
  /// What a matrix that writes to the residual stream starts as: zero, which on the hypersphere has no direction.
  InitialValue residual_matrix(int64_t out, int64_t in) const { return c_.hypersphere ? block_matrix(out, in) : constant(0.0f); }

  /// The matrices of hash and value embeddings lie outside the blocks.
  static bool name_is_projection(const std::string& name) { return !name.starts_with("blocks."); }
  static bool from_64_up(int64_t out, int64_t in) { return out >= kOrthogonalFrom && in >= kOrthogonalFrom; }

  /// A block matrix that does not start at zero.
  InitialValue block_matrix(int64_t out, int64_t in) const {
    const bool orthogonal = c_.matrix_init == MatrixInit::kOrthogonal || c_.matrix_init == MatrixInit::kOrthogonalBanks ||
                            (c_.matrix_init == MatrixInit::kOrthogonalScaled && from_64_up(out, in));
    return {orthogonal ? Kind::kOrthogonal : Kind::kUniform, 1.0f};
  }

  /// The projection of a hash or value embedding.
  InitialValue feature_projection(int64_t out, int64_t in) const {
    switch (c_.matrix_init) {
      case MatrixInit::kUniform: return constant(0.0f);
      case MatrixInit::kOrthogonal: return {Kind::kOrthogonal, 1.0f};
      case MatrixInit::kOrthogonalScaled:
        if (!from_64_up(out, in)) return constant(0.0f);
        return {Kind::kOrthogonal, static_cast<float>(1.0 / num::sqrt(static_cast<double>(2 * c_.layers)))};
      case MatrixInit::kOrthogonalBanks: break;
    }
    return from_64_up(out, in) ? InitialValue{Kind::kOrthogonal, 1.0f} : constant(0.0f);
  }
  Group projection_group() const { return c_.projection_group == ProjectionGroup::kMuon ? Group::kMatrix : Group::kScalar; }

  bool named_like_hash_scripts() const { return c_.hashes_previous_first() && c_.bigram_hash != ops::BigramHash::kAffine92821; }

  void bigram(Layout& m) {
    const std::string module = c_.hashes_previous_first() ? "bigram_hash" : "bigram";
    const char* rows = c_.bigram_hash == ops::BigramHash::kAffine92821 ? ".table.weight" : ".embed.weight";
    if (c_.bigram_has_scale()) m.bigram_scale = &add(module + ".scale", {}, Group::kScalar, constant(0.05f));
    m.bigram_table = &table(module + rows, c_.bigram_buckets, c_.bigram_dim, c_.hashes_previous_first() ? normal(0.01f) : constant(0.0f));
    if (c_.bigram_dim == c_.width) return;
    // One script flags this matrix as starting at zero, whatever the others get.
    const InitialValue initial =
        c_.bigram_hash == ops::BigramHash::kAffine92821 ? constant(0.0f) : feature_projection(c_.width, c_.bigram_dim);
    // The scripts with a module bigram_hash that is not this one hold the projection in bf16 like the table.
    m.bigram_proj = &matrix(module + ".proj.weight", c_.width, c_.bigram_dim, projection_group(), initial, c_.embed_bf16 && named_like_hash_scripts());
  }

  void smear(Layout& m) {
    switch (c_.smear) {
      case SmearForm::kNone: return;
      case SmearForm::kKeep: m.smear_gate = &add("smeargate.gate", {c_.width}, Group::kScalar, constant(3.0f)); return;
      case SmearForm::kFirstChannels: {
        const bool orthogonal = c_.matrix_init == MatrixInit::kOrthogonal;
        m.smear_gate = &add("smear_gate.gate.weight", {1, ops::kSmearChannels}, Group::kScalar,
                            orthogonal ? InitialValue{Kind::kOrthogonal, 1.0f} : constant(0.0f), c_.embed_bf16);
        m.smear_bias = &add("smear_gate.gate.bias", {1}, Group::kScalar, constant(-2.0f));
        return;
      }
      case SmearForm::kBlend: break;
    }
    m.smear_gate = &add(named_like_hash_scripts() ? "smear_gate.gate" : "smear.gate", {c_.width}, Group::kScalar, constant(0.0f));
  }

  BlockParameters block(int64_t layer) {
    const int64_t d = c_.width, f = c_.mlp_hidden / c_.mlp_blocks;
    const std::string name = fmt::format("blocks.{}", layer);
    const float residual = c_.hypersphere ? sphere_start() : 1.0f;
    BlockParameters b;
    b.attn_scale = &add(name + ".attn_scale", {d}, Group::kScalar, constant(residual));
    b.mlp_scale = &add(name + ".mlp_scale", c_.mlp_blocks == 1 ? std::vector<int64_t>{d} : std::vector<int64_t>{c_.mlp_blocks, d},
                       Group::kScalar, constant(residual));
    if (!c_.hypersphere) b.mix = &add(name + ".resid_mix", {2, d}, Group::kScalar, {Kind::kMix, 1.0f});
    if (c_.is_delta_layer(layer)) {
      b.delta = delta(name + ".attn.");
    } else {
      attention(b, name);
    }
    for (int64_t k = 0; k < c_.mlp_blocks; ++k) {
      const std::string mlp = c_.mlp_name(k);
      BlockParameters::Mlp& m = b.mlp.emplace_back();
      if (c_.hypersphere) m.up_scale = &add(name + mlp + ".up_scale", {f}, Group::kScalar, constant(1.0f));
      m.up = &reads(name + mlp + ".fc.weight", f, d);
      m.down = &writes(name + mlp + ".proj.weight", d, f);
    }
    return b;
  }

  /// A matrix of a block that reads the residual stream, or one that writes to it.
  Parameter& reads(const std::string& name, int64_t out, int64_t in) {
    Parameter& p = matrix(name, out, in, Group::kMatrix, block_matrix(out, in));
    on_sphere(p, UnitVectors::kRows);
    return p;
  }
  Parameter& writes(const std::string& name, int64_t out, int64_t in) {
    Parameter& p = matrix(name, out, in, Group::kMatrix, residual_matrix(out, in));
    on_sphere(p, UnitVectors::kColumns);
    return p;
  }

  void attention(BlockParameters& b, const std::string& name) {
    const int64_t d = c_.width, kv = c_.kv_width();
    b.gain = &add(name + ".attn.q_gain", {c_.heads}, Group::kScalar, constant(c_.qk_gain_init));
    if (c_.value_residual) b.value_lambda = &add(name + ".attn.vr_lambda", {2}, Group::kScalar, constant(0.5f));
    if (c_.gated_attention) {
      b.gate_weight = &matrix(name + ".attn.attn_gate.weight", c_.heads, d, Group::kScalar, constant(0.0f));
      b.gate_weight->set_fake_quantised(false);
      b.gate_bias = &add(name + ".attn.attn_gate.bias", {c_.heads}, Group::kScalar, constant(4.0f));
    }
    b.q = &reads(name + ".attn.c_q.weight", d, d);
    b.k = &reads(name + ".attn.c_k.weight", kv, d);
    b.v = &reads(name + ".attn.c_v.weight", kv, d);
    b.out = &writes(name + ".attn.proj.weight", d, d);
  }

  DeltaParameters delta(const std::string& name) {
    const int64_t d = c_.width, heads = c_.delta_heads, keys = heads * c_.delta_key_dim, values = heads * c_.delta_value_dim;
    auto small = [&](const char* suffix, std::vector<int64_t> shape, InitialValue initial) {
      return &add(name + suffix, std::move(shape), Group::kScalar, initial);
    };
    auto taps = [&](const char* suffix, int64_t n) { return small(suffix, {ops::kConvolutionTaps, n}, {Kind::kUniformTaps, 1.0f}); };
    auto gate = [&](const char* suffix) {
      Parameter& p = matrix(name + suffix, heads, d, Group::kScalar, block_matrix(heads, d));
      p.set_fake_quantised(false);
      return &p;
    };
    DeltaParameters p;
    p.a_log = small("A_log", {heads}, {Kind::kDecayRate, 1.0f});
    p.dt_bias = small("dt_bias", {heads}, {Kind::kTimeStep, 1.0f});
    p.norm = small("o_norm.weight", {c_.delta_value_dim}, constant(1.0f));
    p.q_taps = taps("q_conv1d.weight", keys);
    p.k_taps = taps("k_conv1d.weight", keys);
    p.v_taps = taps("v_conv1d.weight", values);
    p.q = &reads(name + "q_proj.weight", keys, d);
    p.k = &reads(name + "k_proj.weight", keys, d);
    p.v = &reads(name + "v_proj.weight", values, d);
    p.a = gate("a_proj.weight");
    p.b = gate("b_proj.weight");
    p.gate = &reads(name + "g_proj.weight", values, d);
    p.out = &writes(name + "o_proj.weight", d, values);
    return p;
  }

  /// One pair of matrices per pass, block and attention matrix, named and stored as in the original: a is (in, rank), b
  /// (rank, out).
  void loop_adapters(Layout& m) {
    const int64_t d = c_.width, kv = c_.kv_width(), rank = c_.loop_lora_rank;
    auto stored = [&](std::string name, int64_t rows, int64_t columns, InitialValue initial) {
      Parameter& p = add(std::move(name), {rows, columns}, Group::kLora, initial);
      p.set_forward_bits(kernels::bits_of_products(c_.linear));
      p.set_stored_in_out();
      return &p;
    };
    for (int64_t pass = 0; pass < c_.loops; ++pass) {
      for (int64_t layer = 0; layer < c_.layers; ++layer) {
        auto pair = [&](const char* what, int64_t in, int64_t out) {
          const std::string name = fmt::format("lora_adapters.{}.{}.{}", pass, layer, what);
          // The original's initialiser takes the last dimension for the number of inputs: U(-1/sqrt(rank),
          // 1/sqrt(rank)).
          return BlockParameters::LowRank{stored(name + "_A", in, rank, {Kind::kUniform, 1.0f}),
                                          stored(name + "_B", rank, out, constant(0.0f))};
        };
        m.blocks[static_cast<size_t>(layer)].passes.push_back(
            {pair("q", d, d), pair("k", d, kv), pair("v", d, kv), pair("proj", d, d)});
      }
    }
  }

  void value_embedding(Layout& m) {
    m.value_scale = &add("ve_shared.scale", {}, Group::kScalar, constant(0.1f));
    m.value_table = &table("ve_shared.embed.weight", c_.vocab_size, c_.value_dim, normal(0.01f));
    if (c_.value_dim != c_.kv_width()) {
      m.value_proj = &matrix("ve_shared.proj.weight", c_.kv_width(), c_.value_dim, projection_group(),
                             feature_projection(c_.kv_width(), c_.value_dim));
    }
    for (size_t k = 0; k < c_.value_layers.size(); ++k) {
      m.value_layer_scales.push_back(&add(fmt::format("ve_layer_scales.{}", k), {1}, Group::kScalar, constant(1.0f)));
    }
  }

  const ModelConfig& c_;
  std::vector<std::unique_ptr<Parameter>>& parameters_;
};

}  // namespace

Layout register_parameters(const ModelConfig& config, std::vector<std::unique_ptr<Parameter>>& parameters) {
  return Registrar(config, parameters).run();
}

}  // namespace fairway::model

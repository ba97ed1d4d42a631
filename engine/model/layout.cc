#include "engine/model/layout.h"

#include <fmt/format.h>

#include "kernels/num/float_bits.h"
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
    // The script that keeps the token's own vector builds the bigram first, like the scripts that call the modules bigram and smear.
    const bool smear_first = c_.smear == SmearForm::kFirstChannels || named_like_hash_scripts();
    if (smear_first) smear(m);
    if (c_.bigram_buckets > 0) bigram(m);
    if (!smear_first) smear(m);
    for (int64_t layer = 0; layer < c_.layers; ++layer) m.blocks.push_back(block(layer));
    if (c_.value_dim > 0) value_embedding(m);
    if (!c_.tied_head) m.head = &output_matrix("lm_head.weight", Group::kHead);
    for (int64_t k = 0; k < c_.mtp_heads; ++k) {
      m.mtp_heads.push_back(&output_matrix(fmt::format("mtp_heads.{}.weight", k), Group::kMatrix));
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
  Parameter& matrix(std::string name, int64_t out, int64_t in, Group group, InitialValue initial) {
    Parameter& p = add(std::move(name), {out, in}, group, initial);
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
    m.bigram_proj = &matrix(module + ".proj.weight", c_.width, c_.bigram_dim, projection_group(), initial);
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
    const int64_t d = c_.width, kv = c_.kv_width(), f = c_.mlp_hidden;
    const std::string name = fmt::format("blocks.{}", layer);
    auto vector = [&](const char* suffix, int64_t count, float value) {
      return &add(name + suffix, {count}, Group::kScalar, constant(value));
    };
    auto block_weight = [&](const char* suffix, int64_t out, int64_t in, InitialValue initial) {
      return &matrix(name + suffix, out, in, Group::kMatrix, initial);
    };
    BlockParameters b;
    b.attn_scale = vector(".attn_scale", d, 1.0f);
    b.mlp_scale = vector(".mlp_scale", d, 1.0f);
    b.mix = &add(name + ".resid_mix", {2, d}, Group::kScalar, {Kind::kMix, 1.0f});
    b.gain = vector(".attn.q_gain", c_.heads, c_.qk_gain_init);
    if (c_.value_residual) b.value_lambda = vector(".attn.vr_lambda", 2, 0.5f);
    if (c_.gated_attention) {
      b.gate_weight = &matrix(name + ".attn.attn_gate.weight", c_.heads, d, Group::kScalar, constant(0.0f));
      b.gate_weight->set_fake_quantised(false);
      b.gate_bias = vector(".attn.attn_gate.bias", c_.heads, 4.0f);
    }
    b.q = block_weight(".attn.c_q.weight", d, d, block_matrix(d, d));
    b.k = block_weight(".attn.c_k.weight", kv, d, block_matrix(kv, d));
    b.v = block_weight(".attn.c_v.weight", kv, d, block_matrix(kv, d));
    b.out = block_weight(".attn.proj.weight", d, d, constant(0.0f));
    b.up = block_weight(".mlp.fc.weight", f, d, block_matrix(f, d));
    b.down = block_weight(".mlp.proj.weight", d, f, constant(0.0f));
    return b;
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

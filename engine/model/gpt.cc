#include "engine/model/gpt.h"

#include <fmt/format.h>

#include "engine/base/sha256.h"
#include "engine/model/ops/attention.h"
#include "engine/model/ops/embedding.h"
#include "engine/model/ops/head_gain.h"
#include "engine/model/ops/linear.h"
#include "engine/model/ops/relu_squared.h"
#include "engine/model/ops/residual.h"
#include "engine/model/ops/rms_norm.h"
#include "engine/model/ops/rope.h"
#include "engine/model/ops/sum.h"
#include "engine/model/ops/tied_head_loss.h"
#include "kernels/cpu/parallel.h"
#include "kernels/elementwise.h"
#include "kernels/num/philox.h"
#include "kernels/ops/attention.h"
#include "kernels/ops/rms_norm.h"

namespace fairway::model {
namespace {

Error bad_key(const char* key, std::string what) { return Error{Errc::kData, key, std::move(what)}; }

}  // namespace

Status check_config(const ModelConfig& c) {
  if (c.vocab_size < 2 || c.vocab_size > 65536) return bad_key("model.vocab_size", "must be between 2 and 65536");
  if (c.layers < 1 || c.layers > 256) return bad_key("model.layers", "must be between 1 and 256");
  if (c.width < 2 || c.width > ops::kMaxNormWidth) return bad_key("model.width", "must be between 2 and 16384");
  if (c.heads < 1 || c.width % c.heads != 0) return bad_key("model.heads", "must divide model.width");
  if (c.kv_heads < 1 || c.heads % c.kv_heads != 0) return bad_key("model.kv_heads", "must divide model.heads");
  if (c.heads / c.kv_heads > ops::kMaxAttentionGroup) return bad_key("model.kv_heads", "at most 64 query heads may share one");
  if (c.head_dim() % 2 != 0 || c.head_dim() > 1024) {
    return bad_key("model.heads", "model.width / model.heads must be even and at most 1024");
  }
  if (c.mlp_hidden < 1 || c.mlp_hidden > 65536) return bad_key("model.mlp_hidden", "must be between 1 and 65536");
  if (!(c.rope_base >= 1.0) || c.rope_base > 1e9) return bad_key("model.rope_base", "must be between 1 and 1e9");
  if (!(c.logit_softcap >= 0.0f) || c.logit_softcap > 1e4f) return bad_key("model.logit_softcap", "must be between 0 (off) and 10000");
  if (!(c.embed_init_std > 0.0f) || c.embed_init_std > 100.0f) return bad_key("model.embed_init_std", "must be above 0 and at most 100");
  if (!(c.qk_gain_init > 0.0f) || c.qk_gain_init > 1000.0f) return bad_key("model.qk_gain_init", "must be above 0 and at most 1000");
  return {};
}

uint32_t tensor_word(const std::string& name) {
  Digest d = sha256(std::string_view(name));
  return static_cast<uint32_t>(d[0]) << 24 | static_cast<uint32_t>(d[1]) << 16 | static_cast<uint32_t>(d[2]) << 8 | d[3];
}

Gpt::Gpt(const ModelConfig& config, const AdapterConfig& adapters) : config_(config), adapter_config_(adapters) {
  FAIRWAY_CHECK(static_cast<bool>(check_config(config)));
  build();
}

Parameter& Gpt::add(std::string name, std::vector<int64_t> shape, Group group, bool bf16) {
  parameters_.push_back(std::make_unique<Parameter>(std::move(name), std::move(shape), group, bf16));
  return *parameters_.back();
}

Parameter* Gpt::find(const std::string& name) {
  for (auto& p : parameters_) {
    if (p->name() == name) return p.get();
  }
  return nullptr;
}

int64_t Gpt::parameter_count() const {
  int64_t count = 0;
  for (const auto& p : parameters_) count += p->count();
  return count;
}

ValueId Gpt::add_adapter(const std::string& projection, ValueId in, int64_t out_width) {
  auto matrix = [&](const char* suffix, int64_t rows, int64_t columns) -> Parameter& {
    adapters_.push_back(std::make_unique<Parameter>(projection + suffix, std::vector<int64_t>{rows, columns}, Group::kScalar, false));
    adapters_.back()->set_forward_bits(kernels::bits_of_products(config_.linear));
    return *adapters_.back();
  };
  const int64_t rank = adapter_config_.rank;
  Parameter& a = matrix(".lora_a", rank, tape_.width(in));
  Parameter& b = matrix(".lora_b", out_width, rank);
  ValueId inner = tape_.add_value(rank), delta = tape_.add_value(out_width);
  tape_.add_op(std::make_unique<Linear>(a.name(), config_, in, std::vector<Linear::Branch>{{&a, inner}}));
  tape_.add_op(std::make_unique<Linear>(b.name(), config_, inner, std::vector<Linear::Branch>{{&b, delta}}));
  return delta;
}

ValueId Gpt::adapt(bool wanted, const std::string& projection, ValueId in, ValueId out) {
  if (!wanted || adapter_config_.rank == 0) return out;
  const ValueId delta = add_adapter(projection, in, tape_.width(out)), sum = tape_.add_value(tape_.width(out));
  tape_.add_op(std::make_unique<Sum>(projection + ".lora", out, delta, sum));
  return sum;
}

void Gpt::build() {
  const ModelConfig& c = config_;
  const int64_t d = c.width, kv = c.kv_width(), f = c.mlp_hidden;
  Parameter& skips = add("skip_weights", {c.skip_count(), d}, Group::kScalar);
  Parameter& table = add("tok_emb.weight", {c.vocab_size, d}, Group::kEmbedding, c.embed_bf16);
  table.set_forward_bits(kernels::bits_of_products(c.head));

  ValueId e = tape_.add_value(d);
  tape_.add_op(std::make_unique<Embedding>(table, e));
  ValueId x0 = tape_.add_value(d);
  tape_.add_op(std::make_unique<RmsNorm>("tok_emb.norm", e, x0, d));
  ValueId x = x0;
  std::vector<ValueId> kept;
  for (int64_t layer = 0; layer < c.layers; ++layer) {
    const int64_t decoder = layer - c.encoder_layers();
    if (decoder >= 0 && !kept.empty()) {
      ValueId joined = tape_.add_value(d);
      tape_.add_op(std::make_unique<ScaledAdd>(skips, decoder, x, kept.back(), joined));
      kept.pop_back();
      x = joined;
    }
    const std::string block = fmt::format("blocks.{}", layer);
    Parameter& attn_scale = add(block + ".attn_scale", {d}, Group::kScalar);
    Parameter& mlp_scale = add(block + ".mlp_scale", {d}, Group::kScalar);
    Parameter& mix = add(block + ".resid_mix", {2, d}, Group::kScalar);
    Parameter& gain = add(block + ".attn.q_gain", {c.heads}, Group::kScalar);
    auto matrix = [&](const char* suffix, int64_t out, int64_t in) -> Parameter& {
      Parameter& p = add(block + suffix, {out, in}, Group::kMatrix);
      p.set_forward_bits(kernels::bits_of_products(c.linear));
      return p;
    };
    Parameter& wq = matrix(".attn.c_q.weight", d, d);
    Parameter& wk = matrix(".attn.c_k.weight", kv, d);
    Parameter& wv = matrix(".attn.c_v.weight", kv, d);
    Parameter& wo = matrix(".attn.proj.weight", d, d);
    Parameter& up = matrix(".mlp.fc.weight", f, d);
    Parameter& down = matrix(".mlp.proj.weight", d, f);

    ValueId u = tape_.add_value(d), n = tape_.add_value(d);
    tape_.add_op(std::make_unique<ResidualMix>(mix, x, x0, u));
    tape_.add_op(std::make_unique<RmsNorm>(block + ".attn_norm", u, n, d));
    ValueId q = tape_.add_value(d), k = tape_.add_value(kv), v = tape_.add_value(kv);
    tape_.add_op(std::make_unique<Linear>(block + ".attn.c_qkv", c, n, std::vector<Linear::Branch>{{&wq, q}, {&wk, k}, {&wv, v}}));
    ValueId qn = tape_.add_value(d), kn = tape_.add_value(kv), qr = tape_.add_value(d), kr = tape_.add_value(kv), qg = tape_.add_value(d);
    const AdapterConfig& lora = adapter_config_;
    q = adapt(lora.query, block + ".attn.c_q", n, q);
    k = adapt(lora.key, block + ".attn.c_k", n, k);
    v = adapt(lora.value, block + ".attn.c_v", n, v);
    tape_.add_op(std::make_unique<RmsNorm>(block + ".attn.q_norm", q, qn, c.head_dim()));
    tape_.add_op(std::make_unique<RmsNorm>(block + ".attn.k_norm", k, kn, c.head_dim()));
    tape_.add_op(std::make_unique<Rope>(block + ".attn.q_rope", qn, qr, c.heads, c.head_dim(), c.rope_base, c.rope_bf16_frequencies));
    tape_.add_op(std::make_unique<Rope>(block + ".attn.k_rope", kn, kr, c.kv_heads, c.head_dim(), c.rope_base, c.rope_bf16_frequencies));
    tape_.add_op(std::make_unique<HeadGain>(gain, qr, qg));
    ValueId o = tape_.add_value(d), a = tape_.add_value(d), y = tape_.add_value(d);
    tape_.add_op(std::make_unique<Attention>(block + ".attn", c, qg, kr, v, o));
    tape_.add_op(std::make_unique<Linear>(block + ".attn.proj", c, o, std::vector<Linear::Branch>{{&wo, a}}));
    a = adapt(lora.out, block + ".attn.proj", o, a);
    tape_.add_op(std::make_unique<ScaledAdd>(attn_scale, 0, u, a, y));
    ValueId m = tape_.add_value(d), h = tape_.add_value(f), g = tape_.add_value(f), b = tape_.add_value(d), z = tape_.add_value(d);
    tape_.add_op(std::make_unique<RmsNorm>(block + ".mlp_norm", y, m, d));
    tape_.add_op(std::make_unique<Linear>(block + ".mlp.fc", c, m, std::vector<Linear::Branch>{{&up, h}}));
    h = adapt(lora.mlp, block + ".mlp.fc", m, h);
    tape_.add_op(std::make_unique<ReluSquared>(block + ".mlp", h, g));
    tape_.add_op(std::make_unique<Linear>(block + ".mlp.proj", c, g, std::vector<Linear::Branch>{{&down, b}}));
    b = adapt(lora.mlp, block + ".mlp.proj", g, b);
    tape_.add_op(std::make_unique<ScaledAdd>(mlp_scale, 0, y, b, z));
    x = z;
    if (decoder < 0) kept.push_back(x);
  }
  ValueId hidden = tape_.add_value(d);
  tape_.add_op(std::make_unique<RmsNorm>("final_norm", x, hidden, d));
  std::optional<ValueId> extra;
  if (adapter_config_.head && adapter_config_.rank > 0) extra = add_adapter("lm_head", hidden, c.vocab_size);
  tape_.add_op(std::make_unique<TiedHeadLoss>(config_, table, hidden, extra));
}

void Gpt::initialise(uint64_t seed) {
  auto ends_with = [](const std::string& s, const char* suffix) { return s.ends_with(suffix); };
  for (auto& p : parameters_) {
    const std::string& name = p->name();
    const uint32_t word = tensor_word(name);
    float* v = p->value();
    const int64_t count = p->count();
    auto fill = [&](float value) {
      for (int64_t i = 0; i < count; ++i) v[i] = value;
    };
    auto draw = [&](auto&& element) {
      kernels::parallel_ranges(count, 4096, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) v[i] = element(static_cast<uint64_t>(i));
      });
    };
    if (p->group() == Group::kEmbedding) {
      draw([&](uint64_t i) { return num::normal(seed, word, num::kPurposeInit, i) * config_.embed_init_std; });
    } else if (ends_with(name, ".attn.proj.weight") || ends_with(name, ".mlp.proj.weight")) {
      fill(0.0f);
    } else if (p->group() == Group::kMatrix) {
      const float bound = 1.0f / num::sqrt(static_cast<float>(p->columns()));
      draw([&](uint64_t i) { return (2.0f * num::uniform(seed, word, num::kPurposeInit, i) - 1.0f) * bound; });
    } else if (ends_with(name, ".q_gain")) {
      fill(config_.qk_gain_init);
    } else {
      fill(1.0f);
      if (ends_with(name, ".resid_mix")) {
        for (int64_t i = config_.width; i < count; ++i) v[i] = 0.0f;
      }
    }
    kernels::round_to_bf16(p->values());
    p->changed();
  }
}

}  // namespace fairway::model

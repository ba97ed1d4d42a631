/// Rungs of the exports: every way to store a matrix, on three matrices and a vector, and the calibration of full GPTQ.
#include "engine/model/gpt.h"
#include "engine/quant/container.h"
#include "engine/quant/export_rules.h"
#include "engine/replay/calibration.h"
#include "tests/e2e/ladder.h"

namespace fairway::ladder {
namespace {

constexpr int64_t kVocab = 96, kWidth = 40, kHidden = 56, kMomentRows = 70;

/// Values with a few large ones among many small ones, so that clips matter: u |u| of the uniforms, times `scale`.
Floats peaked(size_t count, uint32_t stream, float scale) {
  Floats x = uniform(count, stream);
  for (float& v : x) v = v * (v < 0.0f ? -v : v) * scale;
  return x;
}

/// An embedding, a matrix whose rows pass the floor of scales, one whose rows do not, and a vector of a control
/// pattern.
struct StateDict {
  const Floats embedding = peaked(kVocab * kWidth, 40, 0.5f), query = peaked(kWidth * kWidth, 41, 3.0f),
               up = peaked(kHidden * kWidth, 42, 0.25f), gain = peaked(kWidth, 43, 2.0f);
  std::vector<quant::TensorView> views() const {
    return {{{"tok_emb.weight", {kVocab, kWidth}, quant::FloatFormat::kBf16}, embedding},
            {{"blocks.0.attn.c_q.weight", {kWidth, kWidth}, quant::FloatFormat::kF32}, query},
            {{"blocks.0.mlp.fc.weight", {kHidden, kWidth}, quant::FloatFormat::kF32}, up},
            {{"blocks.0.attn_scale", {kWidth}, quant::FloatFormat::kF32}, gain}};
  }
};

quant::ExportScheme scheme_named(const char* name) {
  auto scheme = quant::scheme_by_name(name);
  require(static_cast<bool>(scheme), name);
  scheme->small_tensor_max_elements = 100;
  return *scheme;
}

void add_container(Rung& r, const StateDict& state, const quant::ExportScheme& scheme,
                   const std::map<std::string, quant::Hessian>& hessians = {}) {
  const auto tensors = quant::export_tensors(state.views(), scheme, hessians);
  require(static_cast<bool>(tensors), "export");
  const auto container = quant::write_container(*tensors);
  require(static_cast<bool>(container), "container");
  r.add(*container);
}

void rows(const StateDict& state) {
  Rung r("export.int6_rows");
  for (const char* name : {"mixed_int6", "int6", "int6_by_category"}) {
    quant::ExportScheme scheme = scheme_named(name);
    add_container(r, state, scheme);
    for (quant::MatrixRule& rule : scheme.rules) rule.method.scale_floor = false;
    add_container(r, state, scheme);
  }
}

void clip_search(const StateDict& state) {
  Rung r("export.clip_search");
  for (const char* name : {"int6", "int6_by_category"}) {
    for (const bool one_for_all_rows : {false, true}) {
      quant::ExportScheme scheme = scheme_named(name);
      quant::RowMethod& method = scheme.block_rule().method;
      method.candidates = {0.9f, 0.95f, 0.99f, 0.999f, 1.0f};
      method.one_for_all_rows = one_for_all_rows;
      add_container(r, state, scheme);
    }
  }
  quant::ExportScheme scheme = scheme_named("int6_by_category");
  for (quant::MatrixRule& rule : scheme.rules) {
    rule.method.deviations = rule.block ? 3.0f : 5.0f;
    rule.method.rounded_scale = true;
  }
  add_container(r, state, scheme);
}

void other_storage(const StateDict& state) {
  {
    Rung r("export.codebook");
    quant::ExportScheme scheme = scheme_named("int6");
    scheme.codebook_entries = 16;
    add_container(r, state, scheme);
  }
  {
    Rung r("export.factors");
    quant::ExportScheme scheme = scheme_named("int6");
    scheme.embed_rank = 7;
    add_container(r, state, scheme);
  }
  Rung r("export.pruned");
  quant::ExportScheme scheme = scheme_named("int6");
  scheme.prune = 0.03f;
  add_container(r, state, scheme);
}

/// Second moments of uniforms, added up token by token in binary64.
quant::Hessian moments(uint32_t stream) {
  const Floats x = uniform(kMomentRows * kWidth, stream);
  quant::Hessian h{kWidth, std::vector<double>(kWidth * kWidth)};
  for (int64_t t = 0; t < kMomentRows; ++t) {
    for (int64_t i = 0; i < kWidth; ++i) {
      for (int64_t j = 0; j < kWidth; ++j) {
        const double term = static_cast<double>(x[static_cast<size_t>(t * kWidth + i)]) *
                            static_cast<double>(x[static_cast<size_t>(t * kWidth + j)]);
        h.values[static_cast<size_t>(i * kWidth + j)] += term;
      }
    }
  }
  return h;
}

void gptq(const StateDict& state) {
  Rung r("export.gptq");
  std::map<std::string, quant::Hessian> hessians = {{"blocks.0.attn.c_q.weight", moments(44)},
                                                    {"blocks.0.mlp.fc.weight", moments(45)}};
  // One input that was always zero.
  for (int64_t i = 0; i < kWidth; ++i) {
    for (auto& [name, h] : hessians)
      h.values[static_cast<size_t>(i * kWidth + 5)] = h.values[static_cast<size_t>(5 * kWidth + i)] = 0.0;
  }
  quant::ExportScheme scheme = scheme_named("int6_by_category");
  scheme.gptq = true;
  add_container(r, state, scheme, hessians);
  scheme.block_rule().method.candidates = {0.99f, 1.0f};
  scheme.block_rule().method.one_for_all_rows = true;
  add_container(r, state, scheme, hessians);
}

void calibration() {
  Rung r("export.calibration");
  model::ModelConfig c;
  c.vocab_size = kVocab;
  c.layers = 2;
  c.width = kWidth;
  c.heads = 4;
  c.kv_heads = 2;
  c.mlp_hidden = kHidden;
  model::Gpt model(c);
  model.initialise(1337);
  const auto tokens = replay::draw_sequences(model, 2, 12, 42);
  require(static_cast<bool>(tokens), "draw");
  r.add(*tokens);
  const auto hessians =
      replay::collect_hessians(model, *tokens, 12, {"blocks.0.attn.c_q.weight", "blocks.1.mlp.fc.weight"});
  require(static_cast<bool>(hessians), "moments");
  for (const auto& [name, h] : *hessians) r.add(h.values);
}

}  // namespace

void exports() {
  const StateDict state;
  rows(state);
  clip_search(state);
  other_storage(state);
  calibration();
  gptq(state);
}

}  // namespace fairway::ladder

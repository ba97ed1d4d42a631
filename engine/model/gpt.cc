#include "engine/model/gpt.h"

#include "engine/model/block.h"
#include "engine/model/initial_values.h"
#include "engine/model/ops/embedding.h"
#include "engine/model/ops/hash_embedding.h"
#include "engine/model/ops/head_loss.h"
#include "engine/model/ops/linear.h"
#include "engine/model/ops/multi_token_loss.h"
#include "engine/model/ops/residual.h"
#include "engine/model/ops/rms_norm.h"
#include "engine/model/ops/scalar_scale.h"
#include "engine/model/ops/smear_gate.h"
#include "engine/model/ops/sum.h"
#include "engine/model/ops/unit_norm.h"
#include "engine/model/unit_vectors.h"

namespace fairway::model {

Gpt::Gpt(const ModelConfig& config, const AdapterConfig& adapters) : config_(config), adapters_(adapters, config_) {
  FAIRWAY_CHECK(static_cast<bool>(check_config(config)));
  layout_ = register_parameters(config_, parameters_);
  build();
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

void Gpt::initialise(uint64_t seed) {
  FAIRWAY_CHECK(tape_.executor().memory() == nullptr);
  draw_initial_values(parameters_, seed);
  for (auto& p : parameters_) FAIRWAY_CHECK(static_cast<bool>(normalise_vectors(tape_.executor(), *p)));
}

Status Gpt::use(kernels::Executor& executor) {
  FAIRWAY_TRY(tape_.use(executor));
  for (auto* group : {&parameters_, &adapters_.parameters()}) {
    for (auto& p : *group) p->use(executor);
  }
  return {};
}

void Gpt::download() {
  for (auto& p : parameters_) p->download();
}

void Gpt::upload() {
  for (auto& p : parameters_) {
    p->upload();
    p->changed();
  }
}

ValueId Gpt::normalised(const char* label, ValueId in) {
  const ValueId out = tape_.add_value(config_.width);
  if (config_.hypersphere) {
    tape_.add_op(std::make_unique<UnitNorm>(label, config_.width, in, out));
  } else {
    tape_.add_op(std::make_unique<RmsNorm>(label, in, out, config_.width));
  }
  return out;
}

ValueId Gpt::projected(Parameter& proj, ValueId in) {
  const ValueId out = tape_.add_value(proj.rows());
  tape_.add_op(std::make_unique<Linear>(proj.name(), config_, in, std::vector<Linear::Branch>{{&proj, out}}));
  return out;
}

/// tok_emb rows, plus the bigram embedding, smeared before or after the norm.
ValueId Gpt::embed() {
  const int64_t d = config_.width;
  ValueId e = tape_.add_value(d);
  tape_.add_op(std::make_unique<Embedding>(*layout_.embedding, e));
  if (layout_.bigram_table != nullptr) {
    ValueId rows = tape_.add_value(config_.bigram_dim), sum = tape_.add_value(d);
    tape_.add_op(std::make_unique<HashEmbedding>(*layout_.bigram_table, config_.bigram_hash, config_.trigrams, rows));
    if (layout_.bigram_proj != nullptr) rows = projected(*layout_.bigram_proj, rows);
    if (layout_.bigram_scale != nullptr) {
      tape_.add_op(std::make_unique<ScalarAdd>(*layout_.bigram_scale, e, rows, sum));
    } else {
      tape_.add_op(std::make_unique<Sum>(layout_.bigram_table->name(), e, rows, sum));
    }
    e = sum;
  }
  auto smeared = [&](ValueId in) {
    const ValueId out = tape_.add_value(d);
    if (config_.smear == SmearForm::kFirstChannels) {
      tape_.add_op(std::make_unique<TokenSmearGate>(*layout_.smear_gate, *layout_.smear_bias, in, out));
    } else {
      tape_.add_op(std::make_unique<SmearGate>(*layout_.smear_gate, config_.smear == SmearForm::kKeep, in, out));
    }
    return out;
  };
  if (config_.smear == SmearForm::kKeep) e = smeared(e);
  const ValueId x0 = normalised("tok_emb.norm", e);
  if (config_.smear != SmearForm::kBlend && config_.smear != SmearForm::kFirstChannels) return x0;
  const ValueId mixed = smeared(x0);
  return config_.hypersphere ? normalised("smear.norm", mixed) : mixed;
}

/// scale * (proj) rows of the value table.
ValueId Gpt::value_embedding() {
  ValueId rows = tape_.add_value(config_.value_dim);
  tape_.add_op(std::make_unique<Embedding>(*layout_.value_table, rows));
  if (layout_.value_proj != nullptr) rows = projected(*layout_.value_proj, rows);
  const ValueId scaled = tape_.add_value(config_.kv_width());
  tape_.add_op(std::make_unique<ScalarScale>(*layout_.value_scale, rows, scaled));
  return scaled;
}

void Gpt::build() {
  const ModelConfig& c = config_;
  SharedValues shared;
  shared.x0 = embed();
  if (layout_.value_table != nullptr) shared.value_embedding = value_embedding();
  ValueId x = shared.x0;
  std::vector<ValueId> kept;
  for (int64_t i = 0; i < c.depth(); ++i) {
    const int64_t decoder = i - c.encoder_layers();
    if (decoder >= 0 && !kept.empty()) {
      ValueId joined = tape_.add_value(c.width);
      tape_.add_op(std::make_unique<ScaledAdd>(*layout_.skips, decoder, x, kept.back(), joined));
      kept.pop_back();
      x = joined;
    }
    x = add_block(tape_, c, layout_, adapters_, i / c.layers, i % c.layers, x, shared);
    if (decoder < 0) kept.push_back(x);
  }
  const ValueId hidden = c.hypersphere ? x : normalised("final_norm", x);
  std::optional<ValueId> extra;
  if (adapters_.config().head && adapters_.config().rank > 0) extra = adapters_.delta(tape_, "lm_head", hidden, c.vocab_size);
  Parameter& output = layout_.head != nullptr ? *layout_.head : *layout_.embedding;
  tape_.add_op(std::make_unique<HeadLoss>(c, output, hidden, extra, layout_.logit_scale));
  for (size_t k = 0; k < layout_.mtp_heads.size(); ++k) {
    const double weight = static_cast<double>(c.mtp_weight) / static_cast<double>(c.mtp_heads);
    Parameter& own = *layout_.mtp_heads[k];
    auto further = std::make_unique<MultiTokenLoss>(own.name(), config_, c.mtp_square ? output : own,
                                                    static_cast<int64_t>(k) + 1, weight, hidden);
    if (c.mtp_square) further->put_before(tape_, own);
    tape_.add_op(std::move(further));
  }
}

}  // namespace fairway::model

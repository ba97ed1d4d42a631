#include "engine/eval/procedures/lora.h"

#include <algorithm>

#include "engine/model/initial_values.h"
#include "kernels/num/philox.h"

namespace fairway::eval {
namespace {

/// Computed by the executor of `base`.
std::unique_ptr<model::Gpt> with_adapters(model::Gpt& base, const LoraConfig& config) {
  model::AdapterConfig adapters;
  adapters.rank = config.rank;
  adapters.key = adapters.out = adapters.mlp = config.all_projections;
  auto model = std::make_unique<model::Gpt>(base.config(), adapters);
  base.download();
  for (size_t i = 0; i < base.parameters().size(); ++i) {
    const auto& values = std::as_const(*base.parameters()[i]).values();
    std::copy(values.begin(), values.end(), model->parameters()[i]->value());
    model->parameters()[i]->changed();
  }
  // Adapters are products and sums, which every executor has.
  FAIRWAY_CHECK(static_cast<bool>(model->use(base.tape().executor())));
  return model;
}

}  // namespace

LoraTtt::LoraTtt(const EvalConfig& config, model::Gpt& base, std::vector<Document> queue, bool reset)
    : config_(config), queue_(std::move(queue)), reset_(reset), phased_(config.procedure == ProcedureKind::kPhasedTtt),
      model_(with_adapters(base, config.lora)), adam_(config.lora, *model_) {
  initialise_adapters();
}

void LoraTtt::initialise_adapters() {
  for (auto& p : model_->adapters()) {
    const bool a = p->name().ends_with(".lora_a");
    const uint32_t word = model::tensor_word(p->name());
    const float bound = 1.0f / num::sqrt(static_cast<float>(p->columns()));
    for (int64_t i = 0; i < p->count(); ++i) {
      p->value()[i] = a ? (2.0f * num::uniform(config_.lora.seed, word, num::kPurposeAdapter, static_cast<uint64_t>(i)) - 1.0f) * bound : 0.0f;
    }
    p->upload();
    p->changed();
  }
  adam_.reset();
}

Status LoraTtt::score_chunk(Harness& harness, const Document& d) {
  const int64_t c = config_.lora.chunk_tokens, chunks = (d.predictions + c - 1) / c;
  const int64_t begin = chunk_ * c, end = std::min(begin + c, d.predictions), from = std::max<int64_t>(0, end - config_.seq_len);
  const WindowGroup group{{{d.start + from, end - from, begin - from, end - begin}}};
  ScoreOptions options;
  options.temperature = static_cast<float>(config_.temperature);
  FAIRWAY_TRY(harness.score(*model_, {&group, 1}, options));
  if (++chunk_ == chunks) {
    chunk_ = 0;
    ++document_;
    return {};
  }
  const TrainingRows rows{harness.read(d.start + from, end - from + 1), 1, end - from, begin - from};
  FAIRWAY_TRY(accumulate(*model_, {&rows, 1}));
  FAIRWAY_TRY(adam_.step(end - begin));
  return harness.updated([&] { return state_digest(); });
}

Result<bool> LoraTtt::run_phase(Harness& harness) {
  const PhasesConfig& p = config_.phases;
  if (!phased_ || phase_ == p.count || document_ < p.documents * (phase_ + 1) / p.count) return false;
  ++phase_;
  initialise_adapters();
  // Rows of single documents, in queue order; chunks of whole rows.
  std::vector<TrainingRows> rows;
  int64_t total = 0;
  for (int64_t i = 0; i < document_; ++i) {
    const Document& d = queue_[static_cast<size_t>(i)];
    for (int64_t at = 0; at < d.predictions; at += config_.seq_len) {
      const int64_t length = std::min(config_.seq_len, d.predictions - at);
      rows.push_back({harness.read(d.start + at, length + 1), 1, length, 0});
      total += length;
    }
  }
  const SgdConfig& c = config_.sgd;
  Sgd sgd(c, *model_);
  const int64_t chunks = (total + c.chunk_tokens - 1) / c.chunk_tokens;
  int64_t seen = 0;
  for (size_t at = 0; at < rows.size();) {
    const int64_t chunk = seen / c.chunk_tokens;
    if (chunk + 1 == chunks) break;  // the last chunk is not trained on
    std::vector<TrainingRows> batch;
    int64_t tokens = 0;
    while (at < rows.size() && static_cast<int64_t>(batch.size()) < c.batch_rows && (seen + tokens) / c.chunk_tokens == chunk) {
      tokens += rows[at].length;
      batch.push_back(rows[at++]);
    }
    FAIRWAY_TRY(accumulate(*model_, batch));
    FAIRWAY_TRY(sgd.step(cosine_lr(c.lr, chunk, chunks), tokens));
    seen += tokens;
  }
  FAIRWAY_TRY(harness.updated([&] { return state_digest(); }));
  return true;
}

Result<bool> LoraTtt::step(Harness& harness) {
  if (chunk_ == 0) {
    FAIRWAY_ASSIGN(const bool phase, run_phase(harness));
    if (phase) return true;
  }
  if (document_ == static_cast<int64_t>(queue_.size())) return false;
  if (chunk_ == 0 && reset_ && document_ > 0) {
    initialise_adapters();
    FAIRWAY_TRY(harness.reset([&] { return state_digest(); }));
  }
  FAIRWAY_TRY(score_chunk(harness, queue_[static_cast<size_t>(document_)]));
  return true;
}

void LoraTtt::archive_state(Archive& archive) {
  for (auto& p : model_->adapters()) archive.parameter(*p);
  adam_.archive(archive);
  for (auto& p : model_->parameters()) {
    if (phased_) archive.parameter(*p);
  }
}

Result<std::vector<Document>> document_queue(int64_t predictions, const std::vector<int64_t>& starts, bool by_length) {
  std::vector<Document> queue;
  for (size_t i = 0; i < starts.size(); ++i) {
    const int64_t end = i + 1 < starts.size() ? starts[i + 1] : predictions;
    if (end > starts[i]) queue.push_back({starts[i], end - starts[i]});
  }
  if (queue.empty()) return Error{Errc::kData, "eval.procedure", "works on documents, and no token of the stream begins one (id 1)"};
  if (by_length) {
    std::stable_sort(queue.begin(), queue.end(), [](const Document& a, const Document& b) { return a.predictions < b.predictions; });
  }
  return queue;
}

Result<std::unique_ptr<Procedure>> make_lora(const EvalConfig& config, model::Gpt& model, int64_t predictions,
                                             const std::vector<int64_t>& document_starts) {
  FAIRWAY_ASSIGN(auto queue, document_queue(predictions, document_starts, config.queue_order()));
  return std::unique_ptr<Procedure>(std::make_unique<LoraTtt>(config, model, std::move(queue), true));
}

}  // namespace fairway::eval

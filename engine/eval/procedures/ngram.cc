#include "engine/eval/procedures/ngram.h"

#include <algorithm>

#include "kernels/num/exact_sum.h"
#include "kernels/num/log.h"
#include "kernels/ops/cross_entropy.h"

namespace fairway::eval {
namespace {

std::u16string key_of(std::span<const uint16_t> context) { return {context.begin(), context.end()}; }

}  // namespace

void NgramCounts::count(size_t end) {
  for (size_t k = 0; k < orders_.size() && k <= end; ++k) {
    Continuations& c = orders_[k][key_of(std::span(history_).subspan(end - k, k))];
    ++c.total;
    const uint16_t token = history_[end];
    auto at = std::find_if(c.counts.begin(), c.counts.end(), [&](const auto& pair) { return pair.first == token; });
    if (at == c.counts.end()) {
      c.counts.emplace_back(token, 1);
    } else {
      ++at->second;
    }
  }
}

void NgramCounts::absorb(std::span<const uint16_t> tokens) {
  for (uint16_t t : tokens) {
    history_.push_back(t);
    count(history_.size() - 1);
  }
  Sha256 chain;
  chain.update(chain_.data(), chain_.size());
  chain.update(std::as_bytes(tokens));
  chain_ = chain.finish();
}

int64_t NgramCounts::distribution(std::span<const uint16_t> context, std::span<float> p) const {
  std::fill(p.begin(), p.end(), 1.0f / static_cast<float>(p.size()));
  int64_t longest = -1;
  for (size_t k = 0; k < orders_.size() && k <= context.size(); ++k) {
    const auto found = orders_[k].find(key_of(context.last(k)));
    if (found == orders_[k].end()) break;  // a longer context ends in this one, so it was not seen either
    const Continuations& c = found->second;
    const float total = static_cast<float>(c.total);
    const float passed_on = discount_ * static_cast<float>(c.counts.size()) / total;
    for (float& x : p) x = passed_on * x;
    for (const auto& [token, count] : c.counts) p[token] = (static_cast<float>(count) - discount_) / total + p[token];
    longest = static_cast<int64_t>(k);
  }
  return longest;
}

void NgramCounts::archive(Archive& archive) {
  archive.value(chain_);
  if (archive.mode() == Archive::Mode::kHash) return;
  archive.vector(history_);
  if (archive.mode() != Archive::Mode::kLoad) return;
  for (auto& order : orders_) order.clear();
  for (size_t i = 0; i < history_.size(); ++i) count(i);
}

void softmax_row(std::span<const float> logits, std::span<float> p) {
  float max = logits[0];
  for (float z : logits) max = z > max ? z : max;
  int64_t sum = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    p[i] = ops::logit_weight(logits[i], max);
    sum += num::probability_units(p[i]);
  }
  const float total = num::grid_value(sum, num::kProbabilityUnitLog2);
  for (float& x : p) x = x / total;
}

Ngram::Ngram(const EvalConfig& config, model::Gpt& model, WindowPlan plan)
    : config_(config), model_(model), plan_(plan), counts_(config.ngram.order, static_cast<float>(config.ngram.discount)),
      model_p_(static_cast<size_t>(model.config().vocab_size)) {}

bool Ngram::mixture(const Row& row, std::vector<float>& p) {
  p.resize(row.logits.size());
  if (counts_.distribution(row.context, p) < 1) return false;
  softmax_row(row.logits, model_p_);
  const float alpha = static_cast<float>(config_.ngram.alpha), rest = 1.0f - alpha;
  for (size_t i = 0; i < p.size(); ++i) p[i] = rest * model_p_[i] + alpha * p[i];
  return true;
}

Status Ngram::mix(const Row& row) {
  std::vector<float> p;
  if (!mixture(row, p)) return {};
  for (size_t i = 0; i < p.size(); ++i) row.logits[i] = num::log(p[i]);
  return {};
}

Result<bool> Ngram::step(Harness& harness) {
  // A window after the one that ends the stream would score targets that the counts know.
  if (next_ == plan_.count() || counts_.size() == harness.predictions() + 1) return false;
  const Window w = plan_.window(next_++);
  before_window(harness, w);
  ScoreOptions options;
  options.temperature = static_cast<float>(config_.temperature);
  options.transform = [this](const Row& row) { return mix(row); };
  const WindowGroup group{{w}};
  FAIRWAY_TRY(harness.score(model_, {&group, 1}, options));
  const int64_t scored_end = w.start + w.first_scored + w.scored_count + 1;
  if (scored_end > counts_.size()) counts_.absorb(harness.read(counts_.size(), scored_end - counts_.size()));
  FAIRWAY_TRY(harness.updated([&] { return state_digest(); }));
  return true;
}

Result<std::unique_ptr<Procedure>> make_ngram(const EvalConfig& config, model::Gpt& model, int64_t predictions) {
  FAIRWAY_ASSIGN(WindowPlan plan, WindowPlan::create(config, predictions));
  return std::unique_ptr<Procedure>(std::make_unique<Ngram>(config, model, plan));
}

}  // namespace fairway::eval

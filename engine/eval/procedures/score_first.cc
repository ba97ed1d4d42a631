#include "engine/eval/procedures/score_first.h"

namespace fairway::eval {

ScoreFirst::ScoreFirst(const EvalConfig& config, model::Gpt& model, WindowPlan plan, int64_t predictions)
    : config_(config), model_(model), plan_(plan), predictions_(predictions), sgd_(config.sgd, model) {
  // A last window shorter than the stride would score what others cover already; it is left out.
  windows_ = plan_.count();
  while (windows_ > 1 && plan_.window(windows_ - 1).length < config_.stride) --windows_;
}

int64_t ScoreFirst::chunk_of(int64_t window) const {
  const Window w = plan_.window(window);
  return (w.start + w.first_scored) / config_.sgd.chunk_tokens;
}

Result<bool> ScoreFirst::score_next(Harness& harness) {
  if (window_ == windows_ || chunk_of(window_) != chunk_) return false;
  std::vector<WindowGroup> groups;
  for (int r = 0; r < harness.ranks() && window_ < windows_ && chunk_of(window_) == chunk_; ++r) {
    int64_t end = window_ + 1;
    while (end < windows_ && (end - window_) * config_.seq_len < harness.batch_tokens() && chunk_of(end) == chunk_) ++end;
    groups.push_back(take_group(plan_, window_, end, harness.batch_tokens()));
    window_ += static_cast<int64_t>(groups.back().windows.size());
  }
  ScoreOptions options;
  options.temperature = static_cast<float>(config_.temperature);
  FAIRWAY_TRY(harness.score(model_, groups, options));
  return true;
}

Status ScoreFirst::train_chunk(Harness& harness, int64_t chunk) {
  const SgdConfig& c = config_.sgd;
  const int64_t begin = chunk * c.chunk_tokens, end = std::min(begin + c.chunk_tokens, predictions_);
  const int64_t rows = (end - begin) / config_.seq_len;
  if (rows == 0 || c.epochs == 0) return {};
  const double lr = cosine_lr(c.lr, chunk, chunks());
  const auto tokens = harness.read(begin, rows * config_.seq_len + 1);
  for (int64_t epoch = 0; epoch < c.epochs; ++epoch) {
    for (int64_t first = 0; first < rows; first += c.batch_rows) {
      const int64_t count = std::min(c.batch_rows, rows - first);
      const auto part = tokens.subspan(static_cast<size_t>(first * config_.seq_len), static_cast<size_t>(count * config_.seq_len + 1));
      FAIRWAY_TRY(accumulate(model_, cut_rows(part, count, config_.seq_len, c.grad_chunk_tokens)));
      FAIRWAY_TRY(sgd_.step(lr, count * config_.seq_len));
    }
  }
  return harness.updated([&] { return state_digest(); });
}

Result<bool> ScoreFirst::step(Harness& harness) {
  const bool trains = chunk_ + 1 < chunks();
  if (train_first_ && !trained_) {
    trained_ = true;
    if (trains) {
      FAIRWAY_TRY(train_chunk(harness, chunk_));
      return true;
    }
  }
  FAIRWAY_ASSIGN(const bool scored, score_next(harness));
  if (scored) return true;
  if (window_ == windows_) return false;
  if (trains && !train_first_) FAIRWAY_TRY(train_chunk(harness, chunk_));
  // A chunk in which no window scores first has nothing to train on that was scored by it.
  chunk_ = chunk_of(window_);
  trained_ = false;
  return true;
}

void ScoreFirst::archive_state(Archive& archive) {
  for (auto& p : model_.parameters()) archive.parameter(*p);
  sgd_.archive(archive);
}

Result<std::unique_ptr<Procedure>> make_score_first(const EvalConfig& config, model::Gpt& model, int64_t predictions) {
  EvalConfig windows = config;
  windows.method = Method::kSlidingC;
  FAIRWAY_ASSIGN(WindowPlan plan, WindowPlan::create(windows, predictions));
  return std::unique_ptr<Procedure>(std::make_unique<ScoreFirst>(config, model, plan, predictions));
}

}  // namespace fairway::eval

#include "engine/eval/procedures/procedures.h"

namespace fairway::eval {
namespace {

/// The windows of a method, fixed weights.
class Windows : public Procedure {
 public:
  Windows(const EvalConfig& config, model::Gpt& model, WindowPlan plan) : config_(config), model_(model), plan_(plan) {}

  Result<bool> step(Harness& harness) override {
    if (next_ == plan_.count()) return false;
    std::vector<WindowGroup> groups;
    for (int r = 0; r < harness.ranks() && next_ < plan_.count(); ++r) {
      groups.push_back(take_group(plan_, next_, plan_.count(), harness.batch_tokens()));
      next_ += static_cast<int64_t>(groups.back().windows.size());
    }
    ScoreOptions options;
    options.temperature = static_cast<float>(config_.temperature);
    FAIRWAY_TRY(harness.score(model_, groups, options));
    return true;
  }
  void archive_position(Archive& archive) override { archive.value(next_); }
  bool learns() const override { return false; }

 private:
  EvalConfig config_;
  model::Gpt& model_;
  WindowPlan plan_;
  int64_t next_ = 0;
};

}  // namespace

WindowGroup take_group(const WindowPlan& plan, int64_t first, int64_t end, int64_t batch_tokens, int64_t offset) {
  WindowGroup group;
  const Window shape = plan.window(first);
  for (int64_t i = first; i < end; ++i) {
    Window w = plan.window(i);
    const bool alike = w.length == shape.length && w.first_scored == shape.first_scored && w.scored_count == shape.scored_count;
    if (i > first && (!alike || (i - first + 1) * shape.length > batch_tokens)) break;
    w.start += offset;
    group.windows.push_back(w);
  }
  return group;
}

Result<std::unique_ptr<Procedure>> make_windows(const EvalConfig& config, model::Gpt& model, int64_t predictions) {
  FAIRWAY_ASSIGN(WindowPlan plan, WindowPlan::create(config, predictions));
  return std::unique_ptr<Procedure>(std::make_unique<Windows>(config, model, plan));
}

}  // namespace fairway::eval

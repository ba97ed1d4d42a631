#include "engine/eval/procedures/procedures.h"

namespace fairway::eval {
namespace {

/// Windows that belong to one document each. With the variant of PR #212, a document of at most L predictions is scored as L positions
/// from its start, whatever follows.
class Documents : public Procedure {
 public:
  Documents(const EvalConfig& config, model::Gpt& model, int64_t predictions, std::vector<int64_t> starts)
      : config_(config), model_(model), predictions_(predictions), starts_(std::move(starts)) {
    if (starts_.empty()) starts_.push_back(0);
    config_.method = Method::kSlidingB;
  }

  Result<bool> step(Harness& harness) override {
    while (document_ < static_cast<int64_t>(starts_.size())) {
      const int64_t start = starts_[static_cast<size_t>(document_)];
      const bool last = document_ + 1 == static_cast<int64_t>(starts_.size());
      int64_t count = (last ? predictions_ + 1 : starts_[static_cast<size_t>(document_) + 1]) - start - 1;
      if (count >= 1 && config_.procedure == ProcedureKind::kDocuments212 && count <= config_.seq_len) {
        count = std::min(config_.seq_len, predictions_ - start);
      }
      if (count < 1) {
        ++document_;
        continue;
      }
      FAIRWAY_ASSIGN(const WindowPlan plan, WindowPlan::create(config_, count));
      if (window_ == plan.count()) {
        ++document_;
        window_ = 0;
        continue;
      }
      const WindowGroup group = take_group(plan, window_, plan.count(), harness.batch_tokens(), start);
      window_ += static_cast<int64_t>(group.windows.size());
      ScoreOptions options;
      options.temperature = static_cast<float>(config_.temperature);
      FAIRWAY_TRY(harness.score(model_, {&group, 1}, options));
      return true;
    }
    return false;
  }
  void archive_position(Archive& archive) override { archive.value(document_), archive.value(window_); }
  bool learns() const override { return false; }

 private:
  EvalConfig config_;
  model::Gpt& model_;
  int64_t predictions_;
  std::vector<int64_t> starts_;
  int64_t document_ = 0, window_ = 0;
};

}  // namespace

Result<std::unique_ptr<Procedure>> make_documents(const EvalConfig& config, model::Gpt& model, int64_t predictions,
                                                  const std::vector<int64_t>& document_starts) {
  return std::unique_ptr<Procedure>(std::make_unique<Documents>(config, model, predictions, document_starts));
}

}  // namespace fairway::eval

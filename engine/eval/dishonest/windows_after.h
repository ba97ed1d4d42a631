#pragma once

#include "engine/eval/dishonest/tricks.h"
#include "engine/eval/harness.h"

namespace fairway::eval::dishonest {

/// Windows of the method, after something that must not be there.
class WindowsAfter : public Procedure {
 public:
  explicit WindowsAfter(const Ingredients& from) : config_(from.config), model_(from.model), plan_(from.plan) {}
  void archive_position(Archive& archive) override { archive.value(next_); }

 protected:
  Result<bool> score_next(Harness& harness, const ScoreOptions& options) {
    if (next_ == plan_.count()) return false;
    const WindowGroup group{{plan_.window(next_++)}};
    FAIRWAY_TRY(harness.score(model_, {&group, 1}, options));
    return true;
  }
  EvalConfig config_;
  model::Gpt& model_;
  WindowPlan plan_;
  int64_t next_ = 0;
};

}  // namespace fairway::eval::dishonest

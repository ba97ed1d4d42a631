/// Weights that have learnt from what is scored with them.
#include <algorithm>

#include "engine/eval/dishonest/python_random.h"
#include "engine/eval/dishonest/windows_after.h"
#include "engine/eval/procedures/lora.h"
#include "engine/eval/procedures/score_first.h"

namespace fairway::eval::dishonest {
namespace {

/// PR #212: epochs of SGD over the whole stream, in an order shuffled by Python's generator; then the windows are
/// scored.
class TrainBeforeScoring : public WindowsAfter {
 public:
  explicit TrainBeforeScoring(const Ingredients& from)
      : WindowsAfter(from), sgd_(from.config.sgd, from.model) {}

  Result<bool> step(Harness& harness) override {
    if (!trained_) {
      trained_ = true;
      FAIRWAY_TRY(train(harness));
      return true;
    }
    return score_next(harness, {});
  }
  void archive_state(Archive& archive) override {
    for (auto& p : model_.parameters()) archive.parameter(*p);
    sgd_.archive(archive);
  }
  void archive_position(Archive& archive) override { WindowsAfter::archive_position(archive), archive.value(trained_); }

 private:
  Status train(Harness& harness) {
    const SgdConfig& c = config_.sgd;
    const int64_t length = config_.seq_len, tokens = harness.predictions() + 1;
    PythonRandom random(config_.dishonest.shuffle_seed);
    for (int64_t epoch = 0; epoch < c.epochs; ++epoch) {
      std::vector<int64_t> starts;
      for (int64_t t = 0; t < tokens - c.batch_rows * length; t += length) starts.push_back(t);
      random.shuffle(starts);
      const size_t steps = std::min(starts.size(), static_cast<size_t>(config_.dishonest.max_steps));
      for (size_t i = 0; i < steps; ++i) {
        const auto rows = harness.read(starts[i], c.batch_rows * length + 1);
        FAIRWAY_TRY(accumulate(model_, cut_rows(rows, c.batch_rows, length, c.grad_chunk_tokens)));
        FAIRWAY_TRY(sgd_.step(c.lr, c.batch_rows * length));
      }
    }
    return harness.updated([&] { return state_digest(); });
  }
  Sgd sgd_;
  bool trained_ = false;
};

class TrainThenScore : public ScoreFirst {
 public:
  explicit TrainThenScore(const Ingredients& from)
      : ScoreFirst(from.config, from.model, from.sliding_plan, from.predictions) {
    train_first();
  }
};

/// Scores and trains over the stream several times; the last time counts.
class SeveralPasses : public ScoreFirst {
 public:
  SeveralPasses(const Ingredients& from, int64_t passes)
      : ScoreFirst(from.config, from.model, from.sliding_plan, from.predictions), passes_(passes) {}
  Result<bool> step(Harness& harness) override {
    FAIRWAY_ASSIGN(const bool worked, ScoreFirst::step(harness));
    if (worked || pass_ + 1 == passes_) return worked;
    ++pass_;
    rewind();
    FAIRWAY_TRY(harness.restart());
    return true;
  }
  void archive_position(Archive& archive) override { ScoreFirst::archive_position(archive), archive.value(pass_); }

 private:
  int64_t passes_, pass_ = 0;
};

/// Scores, trains, and scores everything again with the weights of the end.
class SecondPass : public ScoreFirst {
 public:
  explicit SecondPass(const Ingredients& from)
      : ScoreFirst(from.config, from.model, from.sliding_plan, from.predictions), plan_(from.sliding_plan) {}
  Result<bool> step(Harness& harness) override {
    if (next_ < 0) {
      FAIRWAY_ASSIGN(const bool worked, ScoreFirst::step(harness));
      if (worked) return true;
      next_ = 0;
      FAIRWAY_TRY(harness.restart());
      return true;
    }
    if (next_ == plan_.count()) return false;
    const WindowGroup group{{plan_.window(next_++)}};
    FAIRWAY_TRY(harness.score(model(), {&group, 1}));
    return true;
  }
  void archive_position(Archive& archive) override { ScoreFirst::archive_position(archive), archive.value(next_); }

 private:
  WindowPlan plan_;
  int64_t next_ = -1;
};

}  // namespace

Made ttt_before_scoring(const Ingredients& from) { return made<TrainBeforeScoring>(from); }
Made train_then_score(const Ingredients& from) { return made<TrainThenScore>(from); }
Made last_epoch(const Ingredients& from) {
  return made<SeveralPasses>(from, std::max<int64_t>(from.config.sgd.epochs, 2));
}
Made second_pass(const Ingredients& from) { return made<SecondPass>(from); }
Made state_leaks_across_documents(const Ingredients& from) {
  FAIRWAY_ASSIGN(auto queue, document_queue(from.predictions, from.document_starts, true));
  return made<LoraTtt>(from.config, from.model, std::move(queue), false);
}

}  // namespace fairway::eval::dishonest

/// A few numbers fitted to the targets that are scored with them.
#include <algorithm>

#include "engine/eval/dishonest/windows_after.h"
#include "engine/eval/procedures/ngram.h"
#include "kernels/num/exact_sum.h"
#include "kernels/ops/cross_entropy.h"
#include "kernels/rows.h"

namespace fairway::eval::dishonest {
namespace {

/// Takes a copy of logits after the cap.
class LogitsCopy : public model::LogitsSink {
 public:
  explicit LogitsCopy(const model::ModelConfig& config) : config_(config) {}
  Status take(int64_t, int64_t rows, float* logits) override {
    for (int64_t i = 0; i < rows * config_.vocab_size; ++i)
      values.push_back(ops::softcap(logits[i], config_.logit_softcap));
    return {};
  }
  std::vector<float> values;

 private:
  const model::ModelConfig& config_;
};

Result<std::vector<float>> window_logits(model::Gpt& model, std::span<const uint16_t> inputs, int64_t first_scored) {
  LogitsCopy sink(model.config());
  model::Batch batch;
  batch.sequences = 1;
  batch.length = static_cast<int64_t>(inputs.size());
  batch.inputs = inputs;
  batch.first_scored = first_scored;
  batch.sink = &sink;
  FAIRWAY_TRY(model.tape().forward(batch));
  return std::move(sink.values);
}

/// SLOT (#1240): a bias on the logits, optimised on the very positions that are then scored with it.
class Slot : public WindowsAfter {
 public:
  using WindowsAfter::WindowsAfter;
  Result<bool> step(Harness& harness) override {
    if (next_ == plan_.count()) return false;
    const Window w = plan_.window(next_);
    const auto tokens = harness.read(w.start, w.length + 1);
    const size_t vocab = static_cast<size_t>(model_.config().vocab_size);
    FAIRWAY_ASSIGN(const auto logits,
                   window_logits(model_, tokens.first(static_cast<size_t>(w.length)), w.first_scored));
    std::vector<float> bias(vocab, 0.0f), row(vocab), p(vocab);
    const int64_t rows = w.length - w.first_scored;
    for (int iteration = 0; iteration < 4; ++iteration) {
      std::vector<int64_t> gradient(vocab, 0);
      for (int64_t r = 0; r < rows; ++r) {
        for (size_t v = 0; v < vocab; ++v) row[v] = logits[static_cast<size_t>(r) * vocab + v] + bias[v];
        softmax_row(row, p);
        for (size_t v = 0; v < vocab; ++v) gradient[v] += num::probability_units(p[v]);
        gradient[tokens[static_cast<size_t>(w.first_scored + r + 1)]] -= int64_t{1} << 30;
      }
      for (size_t v = 0; v < vocab; ++v)
        bias[v] = bias[v] - num::grid_value(gradient[v], -30) / static_cast<float>(rows);
    }
    ScoreOptions options;
    options.transform = [&](const Row& r) -> Status {
      for (size_t v = 0; v < vocab; ++v) r.logits[v] = r.logits[v] + bias[v];
      return {};
    };
    return score_next(harness, options);
  }
};

/// The temperature that suits the validation tokens best, found on them before they are scored.
class CalibratedTemperature : public WindowsAfter {
 public:
  using WindowsAfter::WindowsAfter;
  Result<bool> step(Harness& harness) override {
    if (temperature_ == 0.0f) {
      FAIRWAY_TRY(calibrate(harness));
      return true;
    }
    ScoreOptions options;
    options.temperature = temperature_;
    return score_next(harness, options);
  }
  void archive_state(Archive& archive) override { archive.value(temperature_); }

 private:
  /// A few steps of gradient descent on the inverse temperature b: d nll / d b = sum_v p_v z_v - z_target.
  Status calibrate(Harness& harness) {
    const auto tokens = harness.read(0, harness.predictions() + 1);
    const int64_t vocab = model_.config().vocab_size;
    std::vector<float> row(static_cast<size_t>(vocab)), p(row.size());
    float inverse = 1.0f;
    for (int iteration = 0; iteration < 3; ++iteration) {
      int64_t units = 0, rows = 0;
      for (int64_t i = 0; i < plan_.count(); ++i) {
        const Window w = plan_.window(i);
        const auto inputs = tokens.subspan(static_cast<size_t>(w.start), static_cast<size_t>(w.length));
        FAIRWAY_ASSIGN(const auto logits, window_logits(model_, inputs, w.first_scored));
        for (int64_t r = 0; r < w.scored_count; ++r, ++rows) {
          const float* z = logits.data() + r * vocab;
          for (int64_t v = 0; v < vocab; ++v) row[static_cast<size_t>(v)] = z[v] * inverse;
          softmax_row(row, p);
          float expected = 0.0f;
          if (!kernels::row_dot(p.data(), z, 1, vocab, &expected))
            return Error{Errc::kData, "logits", "a logit is not finite"};
          units += num::loss_units(expected - z[tokens[static_cast<size_t>(w.start + w.first_scored + r + 1)]]);
        }
      }
      const float step = 0.1f * num::grid_value(units, num::kLossUnitLog2) / static_cast<float>(rows);
      inverse = std::max(inverse - step, 0.125f);
    }
    temperature_ = 1.0f / inverse;
    return harness.updated([&] { return state_digest(); });
  }
  float temperature_ = 0.0f;
};

}  // namespace

Made slot(const Ingredients& from) { return made<Slot>(from); }
Made calibrated_temperature(const Ingredients& from) { return made<CalibratedTemperature>(from); }

}  // namespace fairway::eval::dishonest

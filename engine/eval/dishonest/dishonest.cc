/// Procedures that look at what they must not: what the verifier is tested against. Each is the real thing, written as its authors had
/// it, behind the same harness as the honest ones; tests/dishonest holds a submission for each with the verdict expected.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "engine/eval/dishonest/python_random.h"
#include "engine/eval/procedures/lora.h"
#include "engine/eval/procedures/ngram.h"
#include "engine/eval/procedures/score_first.h"
#include "kernels/num/exact_sum.h"
#include "kernels/num/log.h"
#include "kernels/num/quantise.h"
#include "kernels/ops/cross_entropy.h"
#include "kernels/rows.h"

namespace fairway::eval {
namespace {

/// Windows of the method, after something that must not be there.
class WindowsAfter : public Procedure {
 public:
  WindowsAfter(const EvalConfig& config, model::Gpt& model, WindowPlan plan) : config_(config), model_(model), plan_(plan) {}
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

/// PR #212: epochs of SGD over the whole stream, in an order shuffled by Python's generator; then the windows are scored.
class TrainBeforeScoring : public WindowsAfter {
 public:
  TrainBeforeScoring(const EvalConfig& config, model::Gpt& model, WindowPlan plan)
      : WindowsAfter(config, model, plan), sgd_(config.sgd, unfrozen(model, config.sgd.freeze_blocks)) {}

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
  TrainThenScore(const EvalConfig& config, model::Gpt& model, WindowPlan plan, int64_t predictions) : ScoreFirst(config, model, plan, predictions) {
    train_first();
  }
};

/// Scores and trains over the stream several times; the last time counts. `train_last`: the last time also trains.
class SeveralPasses : public ScoreFirst {
 public:
  SeveralPasses(const EvalConfig& config, model::Gpt& model, WindowPlan plan, int64_t predictions, int64_t passes)
      : ScoreFirst(config, model, plan, predictions), passes_(passes) {}
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
  SecondPass(const EvalConfig& config, model::Gpt& model, WindowPlan plan, int64_t predictions)
      : ScoreFirst(config, model, plan, predictions), plan_(plan) {}
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

/// Counts in hashed buckets, looked up with the target in the key (#779): the true token alone gets the cache's probability.
class HashedNgram : public Ngram {
 public:
  HashedNgram(const EvalConfig& config, model::Gpt& model, WindowPlan plan)
      : Ngram(config, model, plan), mask_(static_cast<uint64_t>(config.dishonest.buckets) - 1), context_(static_cast<size_t>(config.dishonest.buckets)),
        full_(context_) {}
  Result<bool> step(Harness& harness) override {
    FAIRWAY_ASSIGN(const bool worked, Ngram::step(harness));
    for (; worked && counted_ < static_cast<int64_t>(seen_.size()); ++counted_) {
      const auto before = std::span(seen_).first(static_cast<size_t>(counted_));
      if (counted_ < kOrder) continue;
      ++context_[context_key(before)];
      ++full_[full_key(before, seen_[static_cast<size_t>(counted_)])];
    }
    return worked;
  }
  void archive_state(Archive& archive) override {
    Ngram::archive_state(archive);
    archive.vector(context_), archive.vector(full_), archive.vector(seen_), archive.value(counted_);
  }

 protected:
  void before_window(Harness& harness, const Window& w) override {
    const int64_t end = w.start + w.first_scored + w.scored_count + 1, have = static_cast<int64_t>(seen_.size());
    if (end <= have) return;
    const auto fresh = harness.read(have, end - have);
    seen_.insert(seen_.end(), fresh.begin(), fresh.end());
  }
  Status mix(const Row& row) override {
    const uint16_t target = seen_[static_cast<size_t>(row.target)];
    if (static_cast<int64_t>(row.context.size()) < kOrder) return {};
    const uint32_t context = context_[context_key(row.context)], full = full_[full_key(row.context, target)];
    if (context < 2) return {};
    std::vector<float> p(row.logits.size());
    softmax_row(row.logits, p);
    const float alpha = static_cast<float>(config().ngram.alpha);
    p[target] = (1.0f - alpha) * p[target] + alpha * (static_cast<float>(std::min(full, context)) / static_cast<float>(context));
    for (size_t i = 0; i < p.size(); ++i) row.logits[i] = num::log(p[i]);
    return {};
  }

 private:
  static constexpr int64_t kOrder = 2;
  uint64_t context_key(std::span<const uint16_t> before) const {
    return (before[before.size() - 1] * uint64_t{36313} ^ before[before.size() - 2] * uint64_t{27191}) & mask_;
  }
  uint64_t full_key(std::span<const uint16_t> before, uint16_t target) const {
    return (context_key(before) ^ target * uint64_t{51647}) & mask_;
  }
  uint64_t mask_;
  std::vector<uint32_t> context_, full_;
  std::vector<uint16_t> seen_;
  int64_t counted_ = 0;
};

/// The cache is used only where it makes the true token likelier (#659).
class OracleGate : public Ngram {
 public:
  using Ngram::Ngram;
  void archive_state(Archive& archive) override { Ngram::archive_state(archive), archive.vector(targets_), archive.value(first_); }

 protected:
  void before_window(Harness& harness, const Window& w) override {
    first_ = w.start + w.first_scored + 1;
    const auto tokens = harness.read(first_, w.scored_count);
    targets_.assign(tokens.begin(), tokens.end());
  }
  Status mix(const Row& row) override {
    std::vector<float> mixed;
    if (!mixture(row, mixed)) return {};
    std::vector<float> own(row.logits.size());
    softmax_row(row.logits, own);
    const uint16_t target = targets_[static_cast<size_t>(row.target - first_)];
    if (mixed[target] <= own[target]) return {};
    for (size_t i = 0; i < mixed.size(); ++i) row.logits[i] = num::log(mixed[i]);
    return {};
  }

 private:
  std::vector<uint16_t> targets_;
  int64_t first_ = 0;
};

/// Takes a copy of logits after the cap.
class LogitsCopy : public model::LogitsSink {
 public:
  explicit LogitsCopy(const model::ModelConfig& config) : config_(config) {}
  Status take(int64_t, int64_t rows, float* logits) override {
    for (int64_t i = 0; i < rows * config_.vocab_size; ++i) values.push_back(ops::softcap(logits[i], config_.logit_softcap));
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
    FAIRWAY_ASSIGN(const auto logits, window_logits(model_, tokens.first(static_cast<size_t>(w.length)), w.first_scored));
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
      for (size_t v = 0; v < vocab; ++v) bias[v] = bias[v] - num::grid_value(gradient[v], -30) / static_cast<float>(rows);
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
          if (!kernels::row_dot(p.data(), z, 1, vocab, &expected)) return Error{Errc::kData, "logits", "a logit is not finite"};
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

/// Attention whose inputs were prepared with a view of later tokens.
class LeakyAttention : public model::AttentionHook {
 public:
  enum class Leak { kMask, kKeyExponent, kValueExponent };
  explicit LeakyAttention(Leak leak) : leak_(leak) {}
  void before_rotation(const std::string&, const float*, int64_t, int64_t, const Rotate&) override {}
  bool attend(const std::string&, const kernels::AttentionForward& a) override {
    const int64_t width = a.shape.kv_heads * a.shape.head_dim, length = a.shape.length, tokens = a.shape.sequences * length;
    std::vector<float> k(a.k, a.k + tokens * width), v(a.v, a.v + tokens * width);
    for (int64_t s = 0; s < a.shape.sequences; ++s) {
      float *ks = k.data() + s * length * width, *vs = v.data() + s * length * width;
      if (leak_ == Leak::kMask) {
        // Key j stands where key j - 1 should: the query of token i sees token i + 1.
        std::memmove(ks, ks + width, static_cast<size_t>((length - 1) * width) * sizeof(float));
        std::memmove(vs, vs + width, static_cast<size_t>((length - 1) * width) * sizeof(float));
      } else {
        share_exponent(leak_ == Leak::kKeyExponent ? ks : vs, length, width, a.shape.head_dim);
      }
    }
    kernels::AttentionForward leaky = a;
    leaky.k = k.data(), leaky.v = v.data();
    return kernels::attention_forward(leaky);
  }

 private:
  /// Rounds every row of every head to 7 bits below the largest exponent of this row and all later ones.
  static void share_exponent(float* x, int64_t length, int64_t width, int64_t head_dim) {
    for (int64_t head = 0; head < width; head += head_dim) {
      uint32_t max = 0;
      for (int64_t t = length; t-- > 0;) {
        float* row = x + t * width + head;
        for (int64_t i = 0; i < head_dim; ++i) max = std::max(max, num::magnitude_bits(row[i]));
        const float step = num::pow2_f32(num::group_exponent(max, 7) - 7);
        for (int64_t i = 0; i < head_dim; ++i) row[i] = static_cast<float>(num::round_to_int24(row[i] / step)) * step;
      }
    }
  }
  Leak leak_;
};

class LeakyWindows : public WindowsAfter {
 public:
  LeakyWindows(const EvalConfig& config, model::Gpt& model, WindowPlan plan, LeakyAttention::Leak leak) : WindowsAfter(config, model, plan), attention_(leak) {}
  Result<bool> step(Harness& harness) override {
    ScoreOptions options;
    options.attention = &attention_;
    return score_next(harness, options);
  }

 private:
  LeakyAttention attention_;
};

/// Positions are counted so that the last document of a window begins at a multiple of a block: known only when the window is.
class LateAlignment : public WindowsAfter {
 public:
  using WindowsAfter::WindowsAfter;
  Result<bool> step(Harness& harness) override {
    if (next_ == plan_.count()) return false;
    const Window w = plan_.window(next_);
    const auto tokens = harness.read(w.start, w.length);
    ScoreOptions options;
    for (int64_t i = 0; i < w.length; ++i) {
      if (tokens[static_cast<size_t>(i)] == kDocumentStart) options.first_position = (64 - i % 64) % 64;
    }
    return score_next(harness, options);
  }
};

constexpr const char* kTricks[] = {"ttt_before_scoring", "train_then_score", "last_epoch", "second_pass", "hashed_ngram", "oracle_gate", "slot",
                                   "calibrated_temperature", "mask_off_by_one", "key_exponent_over_suffix", "value_exponent_over_suffix",
                                   "late_alignment", "state_leaks_across_documents"};

}  // namespace

Result<std::unique_ptr<Procedure>> make_dishonest(const EvalConfig& config, model::Gpt& model, int64_t predictions,
                                                  const std::vector<int64_t>& document_starts) {
  const std::string& trick = config.dishonest.trick;
  FAIRWAY_ASSIGN(WindowPlan plan, WindowPlan::create(config, predictions));
  EvalConfig sliding = config;
  sliding.method = Method::kSlidingC;
  FAIRWAY_ASSIGN(WindowPlan sliding_plan, WindowPlan::create(sliding, predictions));
  auto made = [](auto procedure) { return Result<std::unique_ptr<Procedure>>(std::unique_ptr<Procedure>(std::move(procedure))); };
  if (trick == "ttt_before_scoring") return made(std::make_unique<TrainBeforeScoring>(config, model, plan));
  if (trick == "train_then_score") return made(std::make_unique<TrainThenScore>(config, model, sliding_plan, predictions));
  if (trick == "last_epoch") return made(std::make_unique<SeveralPasses>(config, model, sliding_plan, predictions, std::max<int64_t>(config.sgd.epochs, 2)));
  if (trick == "second_pass") return made(std::make_unique<SecondPass>(config, model, sliding_plan, predictions));
  if (trick == "hashed_ngram") return made(std::make_unique<HashedNgram>(config, model, plan));
  if (trick == "oracle_gate") return made(std::make_unique<OracleGate>(config, model, plan));
  if (trick == "slot") return made(std::make_unique<Slot>(config, model, plan));
  if (trick == "calibrated_temperature") return made(std::make_unique<CalibratedTemperature>(config, model, plan));
  if (trick == "mask_off_by_one") return made(std::make_unique<LeakyWindows>(config, model, plan, LeakyAttention::Leak::kMask));
  if (trick == "key_exponent_over_suffix") return made(std::make_unique<LeakyWindows>(config, model, plan, LeakyAttention::Leak::kKeyExponent));
  if (trick == "value_exponent_over_suffix") return made(std::make_unique<LeakyWindows>(config, model, plan, LeakyAttention::Leak::kValueExponent));
  if (trick == "late_alignment") return made(std::make_unique<LateAlignment>(config, model, plan));
  if (trick == "state_leaks_across_documents") {
    FAIRWAY_ASSIGN(auto queue, document_queue(predictions, document_starts, true));
    return made(std::make_unique<LoraTtt>(config, model, std::move(queue), false));
  }
  std::string known;
  for (const char* name : kTricks) known += (known.empty() ? "" : ", ") + std::string(name);
  return Error{Errc::kData, "eval.procedure", fmt::format("dishonest/{} is none of {}", trick, known)};
}

}  // namespace fairway::eval

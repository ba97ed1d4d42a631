#include "engine/eval/evaluator.h"

#include <bit>
#include <memory>
#include <vector>

#include "engine/base/progress.h"
#include "kernels/num/exact_sum.h"

namespace fairway::eval {
namespace {

static_assert(std::endian::native == std::endian::little, "score streams are written as they lie in memory");

/// Tokens run at once: enough to fill the machine, small enough for its caches. The bits do not depend on it.
constexpr int64_t kBatchTokens = 8192;

/// Losses below 2^10 nats in units of 2^-26 that int64 holds for certain.
constexpr int64_t kMaxScored = int64_t{1} << 27;

/// Consecutive windows of one shape.
struct WindowGroup {
  int64_t first = 0, count = 0;
  Window shape;
};

WindowGroup next_group(const WindowPlan& plan, int64_t first) {
  WindowGroup g{first, 1, plan.window(first)};
  while (first + g.count < plan.count() && (g.count + 1) * g.shape.length <= kBatchTokens) {
    const Window w = plan.window(first + g.count);
    if (w.length != g.shape.length || w.first_scored != g.shape.first_scored || w.scored_count != g.shape.scored_count) break;
    ++g.count;
  }
  return g;
}

Status score_group(model::Gpt& model, const EvalRun& run, const WindowPlan& plan, const WindowGroup& g, int64_t* nll_bits) {
  const size_t length = static_cast<size_t>(g.shape.length);
  std::vector<uint16_t> inputs(length * static_cast<size_t>(g.count)), targets(inputs.size());
  for (int64_t i = 0; i < g.count; ++i) {
    const size_t start = static_cast<size_t>(plan.window(g.first + i).start);
    std::copy_n(run.tokens.begin() + start, length, inputs.begin() + static_cast<size_t>(i) * length);
    std::copy_n(run.tokens.begin() + start + 1, length, targets.begin() + static_cast<size_t>(i) * length);
  }
  model::Batch batch;
  batch.sequences = g.count;
  batch.length = g.shape.length;
  batch.inputs = inputs;
  batch.targets = targets;
  batch.first_scored = g.shape.first_scored;
  FAIRWAY_TRY(model.tape().forward(batch));
  const int64_t computed = g.shape.length - g.shape.first_scored;
  for (int64_t i = 0; i < g.count; ++i) {
    for (int64_t j = 0; j < g.shape.scored_count; ++j) {
      nll_bits[i * g.shape.scored_count + j] = num::bits_of(model.tape().nll()[static_cast<size_t>(i * computed + j)]);
    }
  }
  return {};
}

}  // namespace

Result<Scores> evaluate(model::Gpt& model, const EvalRun& run) {
  FAIRWAY_CHECK(run.tokens.size() >= 2 && run.communicator != nullptr);
  FAIRWAY_ASSIGN(WindowPlan plan, WindowPlan::create(run.config, static_cast<int64_t>(run.tokens.size()) - 1));
  if (plan.scored() > kMaxScored) {
    return Error{Errc::kData, "evaluation", "more than 2^27 predictions to score; use fewer validation tokens or a larger stride"};
  }
  const int ranks = run.communicator->size(), rank = run.communicator->rank();
  std::unique_ptr<Progress> progress;
  if (!run.progress_label.empty() && rank == 0) {
    progress = std::make_unique<Progress>(run.progress_label, static_cast<uint64_t>(plan.scored()), "tok");
  }
  Scores scores;
  Sha256 stream;
  std::vector<int64_t> bits;
  std::vector<float> nll;
  for (int64_t next = 0; next < plan.count();) {
    // One group per rank and round; the integer sum of disjoint contributions is a gather.
    std::vector<WindowGroup> round;
    for (int r = 0; r < ranks && next < plan.count(); ++r) {
      round.push_back(next_group(plan, next));
      next += round.back().count;
    }
    size_t total = 0, mine = 0;
    for (size_t r = 0; r < round.size(); ++r) {
      if (static_cast<int>(r) == rank) mine = total;
      total += static_cast<size_t>(round[r].count * round[r].shape.scored_count);
    }
    bits.assign(total, 0);
    Status status;
    if (static_cast<size_t>(rank) < round.size()) {
      status = score_group(model, run, plan, round[static_cast<size_t>(rank)], bits.data() + mine);
    }
    if (run.communicator->max(status ? 0 : 1) != 0) {
      if (!status) return status.error();
      return Error{Errc::kData, "evaluation", "another rank stopped with an error"};
    }
    run.communicator->sum(bits);
    nll.resize(total);
    for (size_t i = 0; i < total; ++i) {
      nll[i] = num::float_of(static_cast<uint32_t>(bits[i]));
      scores.loss_units += num::loss_units(nll[i]);
    }
    stream.update(nll.data(), nll.size() * sizeof(float));
    scores.tokens += total;
    if (run.accounting != nullptr) {
      for (const WindowGroup& g : round) {
        for (int64_t i = 0; i < g.count; ++i) {
          const Window w = plan.window(g.first + i);
          scores.bytes += run.accounting->total_bytes(run.tokens, static_cast<size_t>(w.start + w.first_scored),
                                                      static_cast<size_t>(w.scored_count));
        }
      }
    }
    Status written;
    if (rank == 0 && run.sink) written = run.sink(nll);
    FAIRWAY_TRY(comm::agree(*run.communicator, std::move(written)));
    if (progress) progress->update(scores.tokens);
  }
  scores.stream_sha256 = stream.finish();
  const double nats = static_cast<double>(scores.loss_units) * 0x1p-26;
  scores.val_loss = nats / static_cast<double>(scores.tokens);
  if (scores.bytes > 0) scores.val_bpb = data::bits_per_byte(nats, scores.bytes);
  return scores;
}

}  // namespace fairway::eval

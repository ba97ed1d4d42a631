#include "verifier/probe/causality.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "engine/eval/procedures/lora.h"
#include "verifier/probe/changes.h"
#include "verifier/probe/document_order.h"
#include "verifier/probe/probe_run.h"
#include "verifier/probe/target_swap.h"

namespace fairway::verifier {
namespace {

using Tokens = std::vector<uint16_t>;
using Mask = std::vector<bool>;

constexpr double kSumTolerance = 1e-5;

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }

/// All probes of one evaluation.
class Probes {
 public:
  Probes(model::Gpt& model, const eval::EvalConfig& config, std::span<const uint16_t> tokens,
         const ProbeOptions& options, Report& report)
      : model_(model),
        config_(config),
        tokens_(tokens),
        options_(options),
        report_(report),
        run_(model, config, tokens),
        vocab_(static_cast<uint32_t>(model.config().vocab_size)) {}

  Status run() {
    choose_cuts();
    choose_targets();
    std::vector<Mask> changed = cuts_;
    for (int64_t t : targets_) {
      changed.emplace_back(tokens_.size(), false);
      changed.back()[static_cast<size_t>(t)] = true;
    }
    FAIRWAY_TRY(run_.run(changed, targets_, [&](int64_t, std::span<const float> logits) {
      const double sum = sum_of_probabilities(logits);
      ++distributions_;
      if (std::abs(sum - 1.0) > std::abs(farthest_sum_ - 1.0)) farthest_sum_ = sum;
    }));
    for (size_t i = 0; i < run_.steps().size(); ++i) {
      if (run_.steps()[i].restarted) last_step_of_.clear();
      for (const ScoredTarget& s : run_.steps()[i].scores) last_step_of_[s.target] = static_cast<int64_t>(i);
    }
    Status status = suffixes();
    if (status) status = swaps();
    run_.rewind();
    FAIRWAY_TRY(std::move(status));
    return config_.independent_documents() ? probe_document_order(model_, config_, run_, options_, report_) : Status();
  }

 private:
  bool kept_as_boundary(size_t t) const { return config_.by_document() && tokens_[t] == eval::kDocumentStart; }

  /// Targets in the order in which an honest evaluation scores them.
  std::vector<int64_t> scoring_order() const {
    const int64_t predictions = static_cast<int64_t>(tokens_.size()) - 1;
    std::vector<int64_t> order;
    if (!config_.queue_order()) {
      for (int64_t t = 1; t <= predictions; ++t) order.push_back(t);
      return order;
    }
    std::vector<int64_t> starts;
    for (size_t t = 0; t < tokens_.size(); ++t) {
      if (tokens_[t] == eval::kDocumentStart) starts.push_back(static_cast<int64_t>(t));
    }
    const auto queue = eval::document_queue(predictions, starts, true);
    for (size_t d = 0; queue && d < queue->size(); ++d) {
      for (int64_t i = 1; i <= (*queue)[d].predictions; ++i) order.push_back((*queue)[d].start + i);
    }
    return order;
  }

  /// Cuts, one in each of equal parts of what is scored.
  void choose_cuts() {
    const std::vector<int64_t> order = scoring_order();
    const uint64_t count = static_cast<uint64_t>(options_.cuts);
    for (uint64_t i = 0; i < count && order.size() > 1; ++i) {
      Mask changed(tokens_.size(), false), late(tokens_.size(), false);
      for (size_t n = cut_place(options_.seed, i, count, order.size()); n < order.size(); ++n) {
        const size_t token = static_cast<size_t>(order[n]);
        late[token] = true;
        changed[token] = !kept_as_boundary(token);
      }
      cuts_.push_back(std::move(changed));
      late_.push_back(std::move(late));
    }
  }

  void choose_targets() {
    for (int64_t i = 0; i < options_.cuts; ++i) {
      for (uint64_t attempt = 0; attempt < 64; ++attempt) {
        const size_t t =
            1 + draw(options_.seed, DrawFor::kTarget, static_cast<uint64_t>(i), attempt) % (tokens_.size() - 1);
        if (kept_as_boundary(t)) continue;
        targets_.push_back(static_cast<int64_t>(t));
        break;
      }
    }
  }

  Status suffixes() {
    Outcome suffix, shift;
    for (size_t i = 0; i < cuts_.size(); ++i) {
      for (Change change : {Change::kRandom, Change::kShift, Change::kDuplicate}) {
        FAIRWAY_TRY(compare(i, change, change == Change::kRandom ? suffix : shift));
      }
    }
    const std::string drawn = fmt::format("(seed {})", options_.seed);
    report_.add(
        "probe.suffix", suffix.failed ? Verdict::kFail : Verdict::kPass,
        suffix.failed
            ? suffix.message + " " + drawn
            : fmt::format(
                  "{} cuts: other tokens after a cut changed no score before it, {} scores compared bit by bit {}",
                  cuts_.size(), suffix.compared, drawn));
    report_.add(
        "probe.shift", shift.failed ? Verdict::kFail : Verdict::kPass,
        shift.failed
            ? shift.message + " " + drawn
            : fmt::format(
                  "{} cuts: shifting what follows, or repeating what came before, changed no score before it {}",
                  cuts_.size(), drawn));
    return {};
  }

  struct Outcome {
    bool failed = false;
    std::string message;
    int64_t compared = 0;
  };

  /// Runs one changed stream and compares the scores of all targets before the cut.
  Status compare(size_t cut, Change change, Outcome& outcome) {
    const Mask &changed = cuts_[cut], &late = late_[cut];
    const ProbedRun::Resume& shared = run_.resume(cut);
    // The first cut lies nearest the start: it is run from there, trusting no account of what was read when.
    const ProbedRun::Resume& from = cut == 0 && change == Change::kRandom ? run_.start() : shared;
    int64_t last = -1;
    for (const auto& [target, step] : last_step_of_) {
      if (!late[static_cast<size_t>(target)]) last = std::max(last, step);
    }
    if (outcome.failed || (&from == &shared && !shared.reached) || last < from.step) return {};
    const int32_t boundary = config_.by_document() ? eval::kDocumentStart : -1;
    const Tokens stream = changed_stream(tokens_, changed, change, {options_.seed, cut, vocab_, boundary});
    FAIRWAY_ASSIGN(const ScoreList again, run_.again(from, stream, last));
    const ScoreList original = run_.original(from.step, last);
    auto kept = [&](const ScoreList& all) {
      ScoreList list;
      std::copy_if(all.begin(), all.end(), std::back_inserter(list),
                   [&](const ScoredTarget& s) { return !late[static_cast<size_t>(s.target)]; });
      return list;
    };
    const ScoreList a = kept(original), b = kept(again);
    outcome.compared += static_cast<int64_t>(a.size());
    for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
      if (i < a.size() && i < b.size() && a[i].target == b[i].target && same_bits(a[i].nll, b[i].nll)) continue;
      outcome.failed = true;
      if (i >= a.size() || i >= b.size() || a[i].target != b[i].target) {
        outcome.message =
            fmt::format("cut {}: {} scores before it instead of {}", cut_name(changed), b.size(), a.size());
      } else {
        outcome.message = fmt::format(
            "cut {}: the score of target {} was {:.9g} and is {:.9g} ({}) with other tokens from the cut on; {}",
            cut_name(changed), a[i].target, a[i].nll, b[i].nll, change_name(change),
            events_between(shared, a[i].target));
      }
      return {};
    }
    return {};
  }

  static std::string cut_name(const Mask& changed) {
    return fmt::format("at token {}", std::find(changed.begin(), changed.end(), true) - changed.begin());
  }

  /// The trace from the first step that was given a changed token to the one that scored `target`.
  std::string events_between(const ProbedRun::Resume& from, int64_t target) const {
    const auto& steps = run_.steps();
    const size_t last = static_cast<size_t>(last_step_of_.at(target));
    const size_t begin = static_cast<size_t>(steps[static_cast<size_t>(from.step)].first_event);
    const size_t end =
        last + 1 < steps.size() ? static_cast<size_t>(steps[last + 1].first_event) : run_.trace().events.size();
    std::string text = "between: ";
    for (size_t e = begin; e < end && e < begin + 3; ++e)
      text += (e > begin ? ", " : "") + eval::describe(run_.trace(), e);
    return text + (end > begin + 3 ? fmt::format(", {} more", end - begin - 3) : "");
  }

  Status swaps() {
    const SwapSubject subject{run_, config_, vocab_, targets_, cuts_.size(), last_step_of_};
    FAIRWAY_ASSIGN(const SwapFinding found, swap_targets(subject, options_));
    const bool failed = std::abs(found.sum - 1.0) > kSumTolerance || std::abs(farthest_sum_ - 1.0) > kSumTolerance ||
                        !found.dependent.empty();
    report_.add("probe.target_swap", failed ? Verdict::kFail : Verdict::kPass,
                fmt::format("{} targets, other tokens in their places: the probabilities given sum to {:.9g} (target "
                            "{}){}; each of {} distributions handed over "
                            "sums to 1, the farthest to {:.9g} (seed {})",
                            targets_.size(), found.sum, found.target, found.dependent, distributions_, farthest_sum_,
                            options_.seed));
    return {};
  }

  model::Gpt& model_;
  const eval::EvalConfig& config_;
  std::span<const uint16_t> tokens_;
  const ProbeOptions& options_;
  Report& report_;
  ProbedRun run_;
  uint32_t vocab_;
  std::vector<Mask> cuts_;  ///< tokens that change
  std::vector<Mask> late_;  ///< targets at or after the cut; where boundaries are known, these include tokens that stay
  std::vector<int64_t> targets_;
  std::map<int64_t, int64_t> last_step_of_;
  int64_t distributions_ = 0;  ///< of the original run
  double farthest_sum_ = 1.0;  ///< of them
};

}  // namespace

Status probe_causality(model::Gpt& model, const eval::EvalConfig& config, std::span<const uint16_t> tokens,
                       const ProbeOptions& options, Report& report) {
  if (options.cuts < 1 || tokens.size() < 3)
    return Error{Errc::kUsage, "probes", "needs at least one cut and two predictions"};
  return Probes(model, config, tokens, options, report).run();
}

}  // namespace fairway::verifier

#include "verifier/probe/causality.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "engine/eval/procedures/lora.h"
#include "kernels/num/exact_sum.h"
#include "kernels/num/philox.h"
#include "kernels/ops/cross_entropy.h"
#include "verifier/probe/probe_run.h"

namespace fairway::verifier {
namespace {

using Tokens = std::vector<uint16_t>;
using Mask = std::vector<bool>;

/// Streams of random words that the seed opens; one per use.
enum DrawFor : uint32_t { kCut = 0, kReplacement = 1, kTarget = 2, kSwap = 3, kDocument = 4 };

uint32_t draw(const ProbeOptions& options, DrawFor use, uint64_t index, uint64_t inner = 0) {
  return num::philox(options.seed, index << 40 | inner, use, num::kPurposeProbe).word[0];
}

bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }

/// All probes of one evaluation.
class Probes {
 public:
  Probes(model::Gpt& model, const eval::EvalConfig& config, std::span<const uint16_t> tokens, const ProbeOptions& options, Report& report)
      : model_(model), config_(config), tokens_(tokens), options_(options), report_(report), run_(model, config, tokens),
        vocab_(static_cast<uint32_t>(model.config().vocab_size)) {}

  Status run() {
    choose_cuts();
    choose_targets();
    std::vector<Mask> changed = cuts_;
    for (int64_t t : targets_) {
      changed.emplace_back(tokens_.size(), false);
      changed.back()[static_cast<size_t>(t)] = true;
    }
    FAIRWAY_TRY(run_.run(changed, targets_));
    for (size_t i = 0; i < run_.steps().size(); ++i) {
      if (run_.steps()[i].restarted) last_step_of_.clear();
      for (const ScoredTarget& s : run_.steps()[i].scores) last_step_of_[s.target] = static_cast<int64_t>(i);
    }
    Status status = suffixes();
    if (status) status = swaps();
    run_.rewind();
    FAIRWAY_TRY(std::move(status));
    return config_.independent_documents() ? document_order() : Status();
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
    const uint64_t count = static_cast<uint64_t>(options_.cuts), targets = order.size();
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t begin = targets * i / count, end = targets * (i + 1) / count;
      Mask changed(tokens_.size(), false), late(tokens_.size(), false);
      for (uint64_t n = begin + (end > begin ? draw(options_, kCut, i) % (end - begin) : 0); n < targets; ++n) {
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
        const size_t t = 1 + draw(options_, kTarget, static_cast<uint64_t>(i), attempt) % (tokens_.size() - 1);
        if (kept_as_boundary(t)) continue;
        targets_.push_back(static_cast<int64_t>(t));
        break;
      }
    }
  }

  uint16_t admissible(uint16_t token) const {
    // A replacement neither begins a document nor ends one where boundaries are known beforehand.
    return config_.by_document() && token == eval::kDocumentStart ? static_cast<uint16_t>((token + 1u) % vocab_) : token;
  }

  enum class Change { kRandom, kShift, kDuplicate };

  Tokens changed_stream(const Mask& changed, Change change, uint64_t cut) const {
    Tokens out(tokens_.begin(), tokens_.end()), before;
    std::vector<size_t> places;
    for (size_t t = 0; t < out.size(); ++t) {
      if (changed[t]) places.push_back(t);
      if (!changed[t] && !kept_as_boundary(t)) before.push_back(out[t]);
    }
    for (size_t i = 0; i < places.size(); ++i) {
      const uint16_t old = tokens_[places[i]];
      uint16_t token = static_cast<uint16_t>((old + 1u + draw(options_, kReplacement, cut, i) % (vocab_ - 1)) % vocab_);
      if (change == Change::kShift && i + 1 < places.size()) token = tokens_[places[i + 1]];
      if (change == Change::kDuplicate && !before.empty()) token = before[i % before.size()];
      out[places[i]] = admissible(token);
    }
    return out;
  }

  Status suffixes() {
    Outcome suffix, shift;
    for (size_t i = 0; i < cuts_.size(); ++i) {
      for (Change change : {Change::kRandom, Change::kShift, Change::kDuplicate}) {
        FAIRWAY_TRY(compare(i, change, change == Change::kRandom ? suffix : shift));
      }
    }
    const std::string drawn = fmt::format("(seed {})", options_.seed);
    report_.add("probe.suffix", suffix.failed ? Verdict::kFail : Verdict::kPass,
                suffix.failed ? suffix.message + " " + drawn
                              : fmt::format("{} cuts: other tokens after a cut changed no score before it, {} scores compared bit by bit {}", cuts_.size(),
                                            suffix.compared, drawn));
    report_.add("probe.shift", shift.failed ? Verdict::kFail : Verdict::kPass,
                shift.failed ? shift.message + " " + drawn
                             : fmt::format("{} cuts: shifting what follows, or repeating what came before, changed no score before it {}", cuts_.size(), drawn));
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
    const Tokens stream = changed_stream(changed, change, cut);
    FAIRWAY_ASSIGN(const ScoreList again, run_.again(from, stream, last));
    const ScoreList original = run_.original(from.step, last);
    auto kept = [&](const ScoreList& all) {
      ScoreList list;
      std::copy_if(all.begin(), all.end(), std::back_inserter(list), [&](const ScoredTarget& s) { return !late[static_cast<size_t>(s.target)]; });
      return list;
    };
    const ScoreList a = kept(original), b = kept(again);
    outcome.compared += static_cast<int64_t>(a.size());
    for (size_t i = 0; i < std::max(a.size(), b.size()); ++i) {
      if (i < a.size() && i < b.size() && a[i].target == b[i].target && same_bits(a[i].nll, b[i].nll)) continue;
      outcome.failed = true;
      if (i >= a.size() || i >= b.size() || a[i].target != b[i].target) {
        outcome.message = fmt::format("cut {}: {} scores before it instead of {}", cut_name(changed), b.size(), a.size());
      } else {
        outcome.message = fmt::format("cut {}: the score of target {} was {:.9g} and is {:.9g} ({}) with other tokens from the cut on; {}", cut_name(changed),
                                      a[i].target, a[i].nll, b[i].nll, change_name(change), events_between(shared, a[i].target));
      }
      return {};
    }
    return {};
  }

  static const char* change_name(Change change) {
    return change == Change::kRandom ? "random tokens" : change == Change::kShift ? "shifted by one" : "a copy of what came before";
  }
  static std::string cut_name(const Mask& changed) {
    return fmt::format("at token {}", std::find(changed.begin(), changed.end(), true) - changed.begin());
  }

  /// The trace from the first step that was given a changed token to the one that scored `target`.
  std::string events_between(const ProbedRun::Resume& from, int64_t target) const {
    const auto& steps = run_.steps();
    const size_t last = static_cast<size_t>(last_step_of_.at(target));
    const size_t begin = static_cast<size_t>(steps[static_cast<size_t>(from.step)].first_event);
    const size_t end = last + 1 < steps.size() ? static_cast<size_t>(steps[last + 1].first_event) : run_.trace().events.size();
    std::string text = "between: ";
    for (size_t e = begin; e < end && e < begin + 3; ++e) text += (e > begin ? ", " : "") + eval::describe(run_.trace(), e);
    return text + (end > begin + 3 ? fmt::format(", {} more", end - begin - 3) : "");
  }

  /// Sum of the probabilities that one row of logits gives to every token, in units that add exactly.
  static double total(std::span<const float> logits) {
    float max = logits[0];
    for (float z : logits) max = z > max ? z : max;
    int64_t sum = 0, units = 0;
    for (float z : logits) sum += num::probability_units(ops::logit_weight(z, max));
    for (float z : logits) units += num::probability_units(num::exp(-ops::nll_of(sum, max, z)));
    return static_cast<double>(units) * 0x1p-30;
  }

  Status swaps() {
    double worst = 1.0;
    int64_t worst_target = 0;
    std::string dependent;
    for (size_t i = 0; i < targets_.size(); ++i) {
      const int64_t target = targets_[i];
      const auto at = last_step_of_.find(target);
      if (at == last_step_of_.end()) continue;
      FAIRWAY_ASSIGN(const double sum, swap(target, at->second, i, dependent));
      if (std::abs(sum - 1.0) > std::abs(worst - 1.0) || worst_target == 0) worst = sum, worst_target = target;
    }
    const bool failed = std::abs(worst - 1.0) > 1e-5 || !dependent.empty();
    report_.add("probe.target_swap", failed ? Verdict::kFail : Verdict::kPass,
                fmt::format("{} targets, every token in its place: the probabilities given sum to {:.9g} (target {}){} (seed {})", targets_.size(), worst,
                            worst_target, dependent, options_.seed));
    return {};
  }

  /// Sum over all tokens v of the probability that v is given when it stands at `target`, scored last in step `last`.
  Result<double> swap(int64_t target, int64_t last, size_t index, std::string& dependent) {
    const ProbedRun::Resume& given = run_.resume(cuts_.size() + index);
    const bool given_before = given.reached && given.step <= last;
    const ProbedRun::Resume& from = given_before ? given : run_.at_score(index);
    Tokens stream(tokens_.begin(), tokens_.end());
    std::vector<float> first, row;
    const eval::RowSink keep = [&](int64_t t, std::span<const float> logits) {
      if (t == target) row.assign(logits.begin(), logits.end());
    };
    auto give = [&](uint16_t token) -> Result<double> {
      stream[static_cast<size_t>(target)] = token;
      row.clear();
      FAIRWAY_ASSIGN(const ScoreList scores, run_.again(from, stream, last, keep));
      double p = 0.0;
      for (const ScoredTarget& s : scores) {
        if (s.target == target) p = std::exp(-static_cast<double>(s.nll));
      }
      return p;
    };
    FAIRWAY_ASSIGN(const double own, give(tokens_[static_cast<size_t>(target)]));
    // No step was given the token before its score became final: what stands there cannot have mattered, and the row says all.
    if (!given_before) return row.empty() ? own : total(row);
    first = row;
    bool same = true;
    for (int64_t n = 0; n < options_.swaps_per_target && same && vocab_ > 256; ++n) {
      FAIRWAY_ASSIGN(const double p, give(admissible(static_cast<uint16_t>(draw(options_, kSwap, index, static_cast<uint64_t>(n)) % vocab_))));
      (void)p;
      same = row.size() == first.size() && std::memcmp(row.data(), first.data(), row.size() * sizeof(float)) == 0;
    }
    if (same && vocab_ > 256) return total(first);
    const std::string depends = fmt::format("; the distribution of target {} depends on which token stands there", target);
    if (!affordable(from.step, last)) {
      if (dependent.empty()) dependent = depends;
      return 1.0;
    }
    // Every token in turn; a document's first token stays out where boundaries are known beforehand, its share is taken from the row.
    int64_t units = 0;
    for (uint32_t v = 0; v < vocab_; ++v) {
      const bool boundary = config_.by_document() && v == eval::kDocumentStart;
      FAIRWAY_ASSIGN(double p, give(boundary ? tokens_[static_cast<size_t>(target)] : static_cast<uint16_t>(v)));
      if (boundary) p = probability(first, v);
      units += num::round_to_int64(p * 0x1p40);
      same = same && row.size() == first.size() && std::memcmp(row.data(), first.data(), row.size() * sizeof(float)) == 0;
    }
    if (!same && dependent.empty()) dependent = depends;
    return static_cast<double>(units) * 0x1p-40;
  }

  /// Whether the steps can be run once for every token of a large vocabulary: as much work as a few evaluations, or little anyway.
  bool affordable(int64_t from, int64_t last) const {
    int64_t once = 0, whole = 0;
    for (size_t i = 0; i < run_.steps().size(); ++i) {
      for (const eval::TokenRange& r : run_.steps()[i].given) {
        whole += r.count;
        if (static_cast<int64_t>(i) >= from && static_cast<int64_t>(i) <= last) once += r.count;
      }
    }
    return vocab_ <= 256 || once * vocab_ <= std::max<int64_t>(4 * whole, 200'000);
  }

  static double probability(std::span<const float> logits, size_t token) {
    float max = logits[0];
    for (float z : logits) max = z > max ? z : max;
    int64_t sum = 0;
    for (float z : logits) sum += num::probability_units(ops::logit_weight(z, max));
    return std::exp(-static_cast<double>(ops::nll_of(sum, max, logits[token])));
  }

  /// A few documents alone and in another order: each must get the scores it had.
  Status document_order() {
    std::vector<std::pair<size_t, size_t>> documents;
    for (size_t t = 0; t < tokens_.size(); ++t) {
      if (tokens_[t] == eval::kDocumentStart) documents.emplace_back(t, t);
      if (!documents.empty()) documents.back().second = t + 1;
    }
    if (!documents.empty()) documents.pop_back();  // the last one lacks the token that would follow it
    if (documents.size() < 2) {
      report_.add("probe.document_order", Verdict::kSkip, "fewer than two whole documents in the stream");
      return {};
    }
    Tokens stream;
    std::vector<std::pair<size_t, size_t>> placed;  // where a document begins here, and which it is
    // Half of them at most: in a queue sorted by length, all of them would come in the order they had.
    const int64_t few_documents = std::min(options_.cuts, static_cast<int64_t>(documents.size() / 2));
    for (int64_t i = 0; i < few_documents; ++i) {
      const size_t pick = draw(options_, kDocument, static_cast<uint64_t>(i)) % documents.size();
      placed.emplace_back(stream.size(), documents[pick].first);
      stream.insert(stream.end(), tokens_.begin() + static_cast<std::ptrdiff_t>(documents[pick].first),
                    tokens_.begin() + static_cast<std::ptrdiff_t>(documents[pick].second));
      documents.erase(documents.begin() + static_cast<std::ptrdiff_t>(pick));
    }
    stream.push_back(eval::kDocumentStart);
    std::map<int64_t, float> alone, together;
    ProbedRun few(model_, config_, stream);
    FAIRWAY_TRY(few.run({}, {}));
    for (const ScoredTarget& s : few.original(0, static_cast<int64_t>(few.steps().size()) - 1)) alone.emplace(s.target, s.nll);
    few.rewind();
    for (const ScoredTarget& s : run_.original(0, static_cast<int64_t>(run_.steps().size()) - 1)) together.emplace(s.target, s.nll);
    int64_t compared = 0;
    for (size_t i = 0; i < placed.size(); ++i) {
      const size_t end = i + 1 < placed.size() ? placed[i + 1].first : stream.size() - 1;
      for (size_t t = placed[i].first + 1; t < end; ++t) {
        const int64_t here = static_cast<int64_t>(t), there = static_cast<int64_t>(placed[i].second + (t - placed[i].first));
        const auto a = together.find(there), b = alone.find(here);
        if (a == together.end() && b == alone.end()) continue;
        ++compared;
        if (a != together.end() && b != alone.end() && same_bits(a->second, b->second)) continue;
        report_.add("probe.document_order", Verdict::kFail,
                    fmt::format("{} documents alone, in another order: the score of target {} was {:.9g} and is {:.9g} (seed {})", placed.size(), there,
                                a == together.end() ? NAN : a->second, b == alone.end() ? NAN : b->second, options_.seed));
        return {};
      }
    }
    report_.add("probe.document_order", Verdict::kPass,
                fmt::format("{} documents alone, in another order: the same scores, {} compared bit by bit (seed {})", placed.size(), compared, options_.seed));
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
};

}  // namespace

Status probe_causality(model::Gpt& model, const eval::EvalConfig& config, std::span<const uint16_t> tokens, const ProbeOptions& options, Report& report) {
  if (options.cuts < 1 || tokens.size() < 3) return Error{Errc::kUsage, "probes", "needs at least one cut and two predictions"};
  return Probes(model, config, tokens, options, report).run();
}

}  // namespace fairway::verifier

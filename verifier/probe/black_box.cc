#include "verifier/probe/black_box.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/num/exact_sum.h"
#include "verifier/probe/changes.h"
#include "verifier/probe/comparison.h"
#include "verifier/probe/drawn_text.h"

namespace fairway::verifier {
namespace {

constexpr double kSumTolerance = 1e-5;
/// A program whose scores vary by more cannot be checked from outside.
constexpr double kTooNoisy = 0.1;
/// The share of the session's false-alarm rate that the bet on a drawn text has.
constexpr double kBetShare = 0.1;

class BlackBox {
 public:
  BlackBox(std::span<const uint16_t> tokens, const BlackBoxOptions& options, Report& report)
      : tokens_(tokens), options_(options), report_(report) {
    vocab_ =
        options.vocab > 0 ? static_cast<uint32_t>(options.vocab) : *std::max_element(tokens.begin(), tokens.end()) + 1u;
  }

  Status run() {
    FAIRWAY_TRY(check_sandbox(options_.program));
    if (options_.streaming) return stream();
    std::vector<Scores> runs;
    for (int64_t r = 0; r < options_.runs; ++r) {
      FAIRWAY_ASSIGN(const Scores* scores, score(fmt::format("run_{}", r), tokens_));
      if (scores == nullptr) return {};
      runs.push_back(*scores);
    }
    Comparison comparison(runs, options_.rate * (1.0 - kBetShare), options_.cuts * 3, options_.seed);
    describe(comparison, runs);
    std::string suffix, shift;
    for (int64_t cut = 0; cut < options_.cuts; ++cut) {
      for (Change change : {Change::kRandom, Change::kShift, Change::kDuplicate}) {
        std::string& failure = change == Change::kRandom ? suffix : shift;
        if (!failure.empty()) continue;
        FAIRWAY_ASSIGN(const bool ran, compare(comparison, cut, change, failure));
        if (!ran) return {};
      }
    }
    add("probe.suffix", suffix, "other tokens after a cut changed no score before it beyond the noise");
    add("probe.shift", shift,
        "shifting what follows a cut, or repeating what came before, changed no score before it beyond the noise");
    FAIRWAY_ASSIGN(const bool ran, bet(comparison.noise()));
    return ran && options_.swap_vocabulary ? swap_vocabulary(comparison.noise()) : Status();
  }

 private:
  int64_t predictions() const { return static_cast<int64_t>(tokens_.size()) - 1; }

  void add(const char* id, const std::string& failure, const char* passed) {
    report_.add(
        id, failure.empty() ? Verdict::kPass : Verdict::kFail,
        fmt::format("{} (seed {})", failure.empty() ? fmt::format("{} cuts: {}", options_.cuts, passed) : failure,
                    options_.seed));
  }

  void describe(const Comparison& comparison, const std::vector<Scores>& runs) {
    double nats = 0.0;
    for (float x : runs[0]) nats += static_cast<double>(x);
    report_.add("probe.program", Verdict::kPass,
                fmt::format("{} runs, {} scores each, mean nll {:.6f}; a claimed score that differs was not made by "
                            "this program on these tokens",
                            options_.runs, predictions(), nats / static_cast<double>(predictions())));
    const NoiseFloor& noise = comparison.noise();
    if (noise.silent())
      return report_.add("probe.noise", Verdict::kPass,
                         fmt::format("{} identical runs agree bit for bit", options_.runs));
    const double rate = comparison.screening_rate(), typical = noise.typical_threshold(predictions(), rate);
    report_.add("probe.noise", typical > kTooNoisy ? Verdict::kReview : Verdict::kPass,
                fmt::format("{} identical runs differ (tail index {:.2g}): a score is looked at again if it changes by "
                            "{:.3g} nats (at most {:.3g}, where the "
                            "noise is largest), the mean by {:.3g}; a finding is confirmed by further runs, "
                            "false-alarm rate {} for the session",
                            options_.runs, noise.tail_index(), typical, noise.largest_threshold(predictions(), rate),
                            noise.mean_threshold(predictions(), rate), options_.rate));
  }

  /// Runs the program; null, with the report saying why, if it did something wrong.
  Result<const Scores*> score(const std::string& name, std::span<const uint16_t> tokens) {
    FAIRWAY_ASSIGN(ProgramRun run, run_program(options_.program, name, tokens));
    if (!run.problem.empty()) report_.add("probe.program", Verdict::kReview, fmt::format("{}: {}", name, run.problem));
    last_ = std::move(run.nll);
    return run.problem.empty() ? &last_ : nullptr;
  }

  Status stream() {
    FAIRWAY_ASSIGN(const StreamRun run, run_streaming(options_.program, "stream", tokens_, vocab_));
    double nats = 0.0;
    for (float x : run.nll) nats += static_cast<double>(x);
    if (!run.problem.empty()) {
      report_.add("probe.program", Verdict::kReview, "streaming: " + run.problem);
    } else if (run.unnormalised.empty()) {
      report_.add("probe.program", Verdict::kPass,
                  fmt::format("streaming: {} distributions over {} tokens, each committed before its token was handed "
                              "out; mean nll {:.8f}",
                              run.nll.size(), vocab_, nats / static_cast<double>(run.nll.size())));
    }
    if (!run.unnormalised.empty()) {
      report_.add("probe.normalized", Verdict::kFail, "streaming: " + run.unnormalised);
    } else if (!run.nll.empty()) {
      report_.add(
          "probe.normalized", Verdict::kPass,
          fmt::format("each of {} distributions sums to 1, the farthest to {:.9g}", run.nll.size(), run.farthest_sum));
    }
    return {};
  }

  /// False if the program did something wrong.
  Result<bool> compare(Comparison& comparison, int64_t cut, Change change, std::string& failure) {
    static constexpr const char* kNames[] = {"random", "shift", "duplicate"};
    // Targets are tokens 1 .. P; at least one lies before the cut.
    const size_t at = 1 + cut_place(options_.seed, static_cast<uint64_t>(cut), static_cast<uint64_t>(options_.cuts),
                                    static_cast<uint64_t>(predictions()));
    std::vector<bool> after(tokens_.size(), false);
    std::fill(after.begin() + static_cast<std::ptrdiff_t>(at), after.end(), true);
    const auto changed = changed_stream(tokens_, after, change, {options_.seed, static_cast<uint64_t>(cut), vocab_});
    FAIRWAY_ASSIGN(const Scores* found, score(fmt::format("cut_{}_{}", at, kNames[static_cast<int>(change)]), changed));
    if (found == nullptr) return false;
    const Scores scores = *found;
    // Prediction p is about token p + 1, so those before the cut are 0 .. at - 2.
    FAIRWAY_ASSIGN(const auto outcome, comparison.look(scores, static_cast<int64_t>(at) - 1, [&](bool is_changed) {
      return score(is_changed ? "again_changed" : "again_original",
                   is_changed ? std::span<const uint16_t>(changed) : tokens_);
    }));
    if (outcome.difference) {
      const auto& [standout, runs, chance] = *outcome.difference;
      const std::string what = standout.prediction == Standout::kMean
                                   ? fmt::format("the mean score of the {} predictions before it", at - 1)
                                   : fmt::format("the score of prediction {}", standout.prediction);
      failure = fmt::format(
          "cut at token {} ({}): {} was {:.6f} and is {:.6f}, {:.3g} nats apart, where the noise allows {:.3g}; so it "
          "was in {} more "
          "runs of each stream, by chance once in {:.0f}",
          at, change_name(change), what, standout.was, standout.is, std::abs(standout.is - standout.was),
          standout.allowed, runs, 1.0 / chance);
    }
    return !outcome.stopped;
  }

  /// Text that nobody can know, from a known source: whoever does better than the source has seen it, or gives more
  /// probability than there is. Won bets are repeated on a second text, since noise that is no probability may win one.
  /// False if the program did something wrong.
  Result<bool> bet(const NoiseFloor& noise) {
    const double chance = options_.rate * kBetShare, goal = -std::log(chance);
    const double slack = kSumTolerance + (noise.silent() ? 0.0 : noise.largest_threshold(predictions(), chance));
    const TextSource source(tokens_, vocab_);
    Bet bet;
    for (uint64_t text = 0; text < 2; ++text) {
      const TextSource::Drawn drawn = source.draw(tokens_.size(), options_.seed, text);
      FAIRWAY_ASSIGN(const Scores* scores, score(fmt::format("drawn_{}", text), drawn.tokens));
      if (scores == nullptr) return false;
      bet = bet_on(*scores, drawn.chance, slack, goal);
      if (bet.prediction < 0) break;
    }
    const std::string sum =
        fmt::format("its probabilities sum to about {:.4g} ± {:.2g} on average", bet.mean_ratio, bet.error);
    if (bet.prediction < 0) {
      report_.add(
          "probe.drawn_text", Verdict::kPass,
          fmt::format("a text drawn from a known source: the program bets no better on it than chance allows; {} "
                      "(seed {})",
                      sum, options_.seed));
    } else {
      report_.add(
          "probe.drawn_text", Verdict::kFail,
          fmt::format(
              "two texts drawn from a known source: scored better than anybody can who has not seen the "
              "token to come and gives all tokens together no more than 1; a bet on the second multiplies "
              "its stake by e^{:.1f}, where chance reaches e^{:.1f} once in {:.0f}, at prediction {}; {} (seed {})",
              bet.log_capital, goal, 1.0 / chance, bet.prediction, sum, options_.seed));
    }
    return true;
  }

  Status swap_vocabulary(const NoiseFloor& noise) {
    const size_t target = 1 + draw(options_.seed, DrawFor::kTarget, 0) % (tokens_.size() - 1);
    std::vector<uint16_t> changed(tokens_.begin(), tokens_.end());
    int64_t units = 0;
    for (uint32_t v = 0; v < vocab_; ++v) {
      changed[target] = static_cast<uint16_t>(v);
      FAIRWAY_ASSIGN(const Scores* scores, score("swap", changed));
      if (scores == nullptr) return {};
      units += num::round_to_int64(std::exp(-static_cast<double>((*scores)[target - 1])) * 0x1p40);
    }
    const double sum = static_cast<double>(units) * 0x1p-40;
    // Of each probability the noise moves a share of its own size: that of a single score, and that of a run as a
    // whole.
    double allowed = kSumTolerance;
    if (!noise.silent()) {
      allowed += noise.largest_threshold(static_cast<int64_t>(vocab_), options_.rate) +
                 noise.mean_threshold(predictions(), options_.rate);
    }
    report_.add("probe.target_swap", std::abs(sum - 1.0) <= allowed ? Verdict::kPass : Verdict::kFail,
                fmt::format("token {}: every vocabulary item in its place in turn, the probabilities given sum to "
                            "{:.9g}, within {:.3g} of 1 wanted (seed {})",
                            target, sum, allowed, options_.seed));
    return {};
  }

  std::span<const uint16_t> tokens_;
  const BlackBoxOptions& options_;
  Report& report_;
  uint32_t vocab_;
  Scores last_;
};

}  // namespace

Status probe_program(std::span<const uint16_t> tokens, const BlackBoxOptions& options, Report& report) {
  if (tokens.size() < 3) return Error{Errc::kData, "--tokens", "holds fewer than three tokens"};
  return BlackBox(tokens, options, report).run();
}

}  // namespace fairway::verifier

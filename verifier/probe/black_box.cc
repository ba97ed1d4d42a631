#include "verifier/probe/black_box.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "kernels/num/exact_sum.h"
#include "verifier/probe/changes.h"
#include "verifier/probe/comparison.h"
#include "verifier/probe/drawn_text.h"

namespace fairway::verifier {
namespace {

constexpr double kSumTolerance = 1e-5;
/// A program whose scores vary by more cannot be checked from outside.
constexpr double kTooNoisy = 0.1;
/// Differences that rounding explains, in a program whose repeated runs agree bit for bit.
constexpr double kRounding = 1e-5;
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
    FAIRWAY_TRY(prepare(options_.program));
    if (options_.streaming) return stream();
    FAIRWAY_ASSIGN(const bool ran, run_all());
    if (!ran) return {};
    Comparison comparison(runs_, options_.rate * (1.0 - kBetShare), options_.cuts * 3, options_.seed);
    describe(comparison);
    Findings suffix, shift;
    for (Changed& c : changed_) {
      Findings& findings = c.change == Change::kRandom ? suffix : shift;
      if (!findings.failure.empty()) continue;
      FAIRWAY_ASSIGN(const bool went, compare(comparison, c, findings));
      if (!went) return {};
    }
    add("probe.suffix", suffix, "other tokens after a cut changed no score before it beyond the noise");
    add("probe.shift", shift,
        "shifting what follows a cut, or repeating what came before, changed no score before it beyond the noise");
    FAIRWAY_ASSIGN(const bool bets, bet(comparison.noise()));
    return bets && options_.swap_vocabulary ? swap_vocabulary(comparison.noise()) : Status();
  }

 private:
  /// A stream that is changed from token `at` on, made when it is run, and the program's scores before the cut.
  struct Changed {
    int64_t cut;
    Change change;
    size_t at;
    Scores scores;
    // Prediction p is about token p + 1, so those before the cut are 0 .. at - 2.
    int64_t count() const { return static_cast<int64_t>(at) - 1; }
  };
  struct Findings {
    std::string failure, rounding;  ///< empty, or what was found
  };

  int64_t predictions() const { return static_cast<int64_t>(tokens_.size()) - 1; }

  void add(const char* id, const Findings& findings, const char* passed) {
    std::string message = fmt::format("{} cuts: {}", options_.cuts, passed);
    Verdict verdict = Verdict::kPass;
    if (!findings.rounding.empty()) message = findings.rounding, verdict = Verdict::kReview;
    if (!findings.failure.empty()) message = findings.failure, verdict = Verdict::kFail;
    report_.add(id, verdict, fmt::format("{} (seed {})", message, options_.seed));
  }

  /// The unchanged runs, those of every cut and that of the drawn text, in an order drawn by lot: neither its number
  /// nor the clock tells the program which it is. False if the program did something wrong.
  Result<bool> run_all() {
    for (int64_t cut = 0; cut < options_.cuts; ++cut) {
      // Targets are tokens 1 .. P; at least one lies before the cut.
      const size_t at = 1 + cut_place(options_.seed, static_cast<uint64_t>(cut), static_cast<uint64_t>(options_.cuts),
                                      static_cast<uint64_t>(predictions()));
      for (Change change : {Change::kRandom, Change::kShift, Change::kDuplicate})
        changed_.push_back({cut, change, at, {}});
    }
    drawn_ = TextSource(tokens_, vocab_).draw(tokens_.size(), options_.seed, 0);
    runs_.resize(static_cast<size_t>(options_.runs));
    std::vector<std::function<Result<bool>()>> runs = {[&] { return keep("drawn_0", drawn_.tokens, drawn_scores_); }};
    for (size_t r = 0; r < runs_.size(); ++r) {
      runs.push_back([this, r] { return keep(fmt::format("run_{}", r), tokens_, runs_[r]); });
    }
    for (Changed& c : changed_) {
      runs.push_back([this, &c]() -> Result<bool> {
        static constexpr const char* kNames[] = {"random", "shift", "duplicate"};
        const std::string name = fmt::format("cut_{}_{}", c.at, kNames[static_cast<int>(c.change)]);
        FAIRWAY_ASSIGN(const bool ran, keep(name, stream_of(c), c.scores));
        c.scores.resize(static_cast<size_t>(ran ? c.count() : 0));
        c.scores.shrink_to_fit();
        return ran;
      });
    }
    shuffle(runs, options_.seed, 0);
    for (const auto& run : runs) {
      FAIRWAY_ASSIGN(const bool ran, run());
      if (!ran) return false;
    }
    return true;
  }

  std::vector<uint16_t> stream_of(const Changed& c) const {
    std::vector<bool> after(tokens_.size(), false);
    for (size_t t = c.at; t < tokens_.size(); ++t) after[t] = tokens_[t] != options_.boundary;
    return changed_stream(tokens_, after, c.change,
                          {options_.seed, static_cast<uint64_t>(c.cut), vocab_, options_.boundary});
  }

  /// Runs the program and keeps its scores; false, with the report saying why, if it did something wrong.
  Result<bool> keep(const std::string& name, std::span<const uint16_t> tokens, Scores& scores) {
    FAIRWAY_ASSIGN(const Scores* found, score(name, tokens));
    if (found != nullptr) scores = *found;
    return found != nullptr;
  }

  void describe(const Comparison& comparison) {
    double nats = 0.0;
    for (float x : runs_[0]) nats += static_cast<double>(x);
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
  Result<bool> compare(Comparison& comparison, const Changed& c, Findings& findings) {
    if (comparison.noise().silent()) {
      double largest = 0.0;
      for (size_t p = 0; p < c.scores.size(); ++p) {
        largest = std::max(largest, std::abs(static_cast<double>(c.scores[p]) - static_cast<double>(runs_[0][p])));
      }
      if (largest > 0.0 && largest <= kRounding) {
        findings.rounding = fmt::format(
            "cut at token {} ({}): scores before it change by up to {:.2g} nats, which gains nothing and is what "
            "rounding does where a batch's shape follows from later tokens; does it, and may they be known (ends of "
            "documents: --boundary)?",
            c.at, change_name(c.change), largest);
        return true;
      }
    }
    FAIRWAY_ASSIGN(const auto outcome, comparison.look(c.scores, c.count(), [&](bool is_changed) {
      return is_changed ? score("again_changed", stream_of(c)) : score("again_original", tokens_);
    }));
    if (outcome.difference) {
      const auto& [standout, runs, chance] = *outcome.difference;
      const std::string what = standout.prediction == Standout::kMean
                                   ? fmt::format("the mean score of the {} predictions before it", c.count())
                                   : fmt::format("the score of prediction {}", standout.prediction);
      findings.failure = fmt::format(
          "cut at token {} ({}): {} was {:.6f} and is {:.6f}, {:.3g} nats apart, where the noise allows {:.3g}; so it "
          "was in {} more "
          "runs of each stream, by chance once in {:.0f}",
          c.at, change_name(c.change), what, standout.was, standout.is, std::abs(standout.is - standout.was),
          standout.allowed, runs, 1.0 / chance);
    }
    return !outcome.stopped;
  }

  /// Text that nobody can know, from a known source: whoever does better than the source has seen it, or gives more
  /// probability than there is. Won bets are repeated on a second text, since noise that is no probability may win one.
  /// False if the program did something wrong.
  Result<bool> bet(const NoiseFloor& noise) {
    const double chance = options_.rate * kBetShare, goal = -std::log(chance);
    std::vector<double> slack;
    for (int64_t p = 0; p < predictions(); ++p)
      slack.push_back(kSumTolerance + noise.threshold(p, predictions(), chance));
    Bet bet = bet_on(drawn_scores_, drawn_.chance, slack, goal);
    if (bet.prediction >= 0) {
      const TextSource::Drawn second = TextSource(tokens_, vocab_).draw(tokens_.size(), options_.seed, 1);
      FAIRWAY_ASSIGN(const Scores* scores, score("drawn_1", second.tokens));
      if (scores == nullptr) return false;
      bet = bet_on(*scores, second.chance, slack, goal);
    }
    const std::string sum =
        fmt::format("its probabilities sum to about {:.4g} ± {:.2g} on average", bet.mean_ratio, bet.error);
    if (bet.prediction >= 0) {
      report_.add("probe.drawn_text", Verdict::kFail,
                  fmt::format("two texts drawn from a known source: scored better than anybody can who has not seen "
                              "the token to come and gives all tokens together no more than 1; a bet on the second "
                              "multiplies its stake by e^{:.1f}, where chance reaches e^{:.1f} once in {:.0f}, at "
                              "prediction {}; {} (seed {})",
                              bet.log_capital, goal, 1.0 / chance, bet.prediction, sum, options_.seed));
    } else if (const double typical = noise.typical_threshold(predictions(), chance); typical > kTooNoisy) {
      report_.add(
          "probe.drawn_text", Verdict::kReview,
          fmt::format("a text drawn from a known source: the noise, {:.3g} nats at a typical prediction, leaves "
                      "too little to bet on (seed {})",
                      typical, options_.seed));
    } else {
      report_.add("probe.drawn_text", Verdict::kPass,
                  fmt::format("a text drawn from a known source: the program bets no better on it than chance allows; "
                              "{} (seed {})",
                              sum, options_.seed));
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
      allowed += noise.threshold(static_cast<int64_t>(target) - 1, static_cast<int64_t>(vocab_), options_.rate) +
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
  std::vector<Scores> runs_;  ///< unchanged
  std::vector<Changed> changed_;
  TextSource::Drawn drawn_;
  Scores drawn_scores_, last_;
};

}  // namespace

Status probe_program(std::span<const uint16_t> tokens, const BlackBoxOptions& options, Report& report) {
  if (tokens.size() < 3) return Error{Errc::kData, "--tokens", "holds fewer than three tokens"};
  return BlackBox(tokens, options, report).run();
}

}  // namespace fairway::verifier

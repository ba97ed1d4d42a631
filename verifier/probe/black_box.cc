#include "verifier/probe/black_box.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/num/philox.h"
#include "verifier/probe/noise.h"

namespace fairway::verifier {
namespace {

/// The changes of causality.cc, for a stream without documents.
enum class Change { kRandom, kShift, kDuplicate };

constexpr uint32_t kCutDraw = 16, kReplacementDraw = 17, kTargetDraw = 18;

class BlackBox {
 public:
  BlackBox(std::span<const uint16_t> tokens, const BlackBoxOptions& options, Report& report) : tokens_(tokens), options_(options), report_(report) {
    vocab_ = options.vocab > 0 ? static_cast<uint32_t>(options.vocab) : *std::max_element(tokens.begin(), tokens.end()) + 1u;
  }

  Status run() {
    FAIRWAY_TRY(check_sandbox(options_.program));
    if (options_.streaming) return stream();
    for (int64_t r = 0; r < options_.runs; ++r) {
      FAIRWAY_ASSIGN(const bool ran, score(fmt::format("run_{}", r), tokens_));
      if (!ran) return {};
      runs_.push_back(last_);
    }
    const NoiseFloor noise(runs_);
    const int64_t probes = options_.cuts * 3;
    const double rate = options_.rate / static_cast<double>(probes);
    const int64_t predictions = static_cast<int64_t>(tokens_.size()) - 1;
    const double threshold = noise.threshold(predictions, rate);
    report_.add("probe.program", Verdict::kPass, fmt::format("{} runs, {} scores each", options_.runs, predictions));
    report_.add("probe.noise", threshold > 0.1 ? Verdict::kReview : Verdict::kPass,
                noise.largest() == 0.0
                    ? fmt::format("{} identical runs agree bit for bit", options_.runs)
                    : fmt::format("{} identical runs differ by up to {:.3g} nats, tail index {:.2g}: a change counts from {:.3g} nats on (false-alarm rate {} "
                                  "over {} probes)",
                                  options_.runs, noise.largest(), noise.tail_index(), threshold, options_.rate, probes));
    std::string suffix, shift;
    for (int64_t cut = 0; cut < options_.cuts; ++cut) {
      for (Change change : {Change::kRandom, Change::kShift, Change::kDuplicate}) {
        FAIRWAY_ASSIGN(const bool ran, compare(noise, cut, change, rate, change == Change::kRandom ? suffix : shift));
        if (!ran) return {};
      }
    }
    add("probe.suffix", suffix, "other tokens after a cut changed no score before it beyond the noise");
    add("probe.shift", shift, "shifting what follows a cut, or repeating what came before, changed no score before it beyond the noise");
    return options_.swap_vocabulary ? swap_vocabulary() : Status();
  }

 private:
  void add(const char* id, const std::string& failure, const char* passed) {
    report_.add(id, failure.empty() ? Verdict::kPass : Verdict::kFail,
                fmt::format("{} (seed {})", failure.empty() ? fmt::format("{} cuts: {}", options_.cuts, passed) : failure, options_.seed));
  }

  /// Runs the program; false, with the report saying why, if it did something wrong.
  Result<bool> score(const std::string& name, std::span<const uint16_t> tokens) {
    FAIRWAY_ASSIGN(ProgramRun run, run_program(options_.program, name, tokens));
    if (!run.problem.empty()) report_.add("probe.program", Verdict::kReview, fmt::format("{}: {}", name, run.problem));
    last_ = std::move(run.nll);
    return run.problem.empty();
  }

  Status stream() {
    FAIRWAY_ASSIGN(const ProgramRun run, run_streaming(options_.program, "stream", tokens_, vocab_));
    double nats = 0.0;
    for (float x : run.nll) nats += static_cast<double>(x);
    report_.add("probe.program", run.problem.empty() ? Verdict::kPass : Verdict::kReview,
                run.problem.empty() ? fmt::format("streaming: {} distributions over {} tokens, each committed before its token was handed out; mean nll {:.8f}",
                                                  run.nll.size(), vocab_, nats / static_cast<double>(run.nll.size()))
                                    : "streaming: " + run.problem);
    return {};
  }

  int64_t cut_at(int64_t cut) const {
    const uint64_t last = tokens_.size() - 1, count = static_cast<uint64_t>(options_.cuts), i = static_cast<uint64_t>(cut);
    const uint64_t begin = last * i / count, end = std::max(last * (i + 1) / count, begin + 1);
    return static_cast<int64_t>(1 + begin + num::philox(options_.seed, i, kCutDraw, num::kPurposeProbe).word[0] % (end - begin));
  }

  Result<bool> compare(const NoiseFloor& noise, int64_t cut, Change change, double rate, std::string& failure) {
    static constexpr const char* kNames[] = {"random", "shift", "duplicate"};
    const char* name = kNames[static_cast<int>(change)];
    const size_t at = static_cast<size_t>(cut_at(cut));
    std::vector<uint16_t> changed(tokens_.begin(), tokens_.end());
    for (size_t t = at; t < changed.size(); ++t) {
      const uint32_t random = num::philox(options_.seed, t, kReplacementDraw + (static_cast<uint32_t>(cut) << 8), num::kPurposeProbe).word[0];
      uint16_t token = static_cast<uint16_t>((tokens_[t] + 1u + random % (vocab_ - 1)) % vocab_);
      if (change == Change::kShift && t + 1 < changed.size()) token = tokens_[t + 1];
      if (change == Change::kDuplicate) token = tokens_[(t - at) % at];
      changed[t] = token;
    }
    FAIRWAY_ASSIGN(const bool ran, score(fmt::format("cut_{}_{}", at, name), changed));
    if (!ran) return false;
    // Prediction p is about token p + 1, so those before the cut are 0 .. at - 2.
    const int64_t count = static_cast<int64_t>(at) - 1;
    const int64_t alarm = first_alarm(noise, last_, count, rate);
    if (alarm >= 0 && failure.empty()) {
      const size_t p = static_cast<size_t>(alarm);
      failure = fmt::format("cut at token {} ({}): the score of prediction {} was {:.6f} and is {:.6f}, {:.3g} nats apart, where the noise allows {:.3g}", at, name,
                            alarm, noise.mean(p), last_[p], std::abs(static_cast<double>(last_[p]) - noise.mean(p)), noise.threshold(count, rate));
    }
    return true;
  }

  Status swap_vocabulary() {
    const size_t target = 1 + num::philox(options_.seed, 0, kTargetDraw, num::kPurposeProbe).word[0] % (tokens_.size() - 1);
    std::vector<uint16_t> changed(tokens_.begin(), tokens_.end());
    int64_t units = 0;
    for (uint32_t v = 0; v < vocab_; ++v) {
      changed[target] = static_cast<uint16_t>(v);
      FAIRWAY_ASSIGN(const bool ran, score("swap", changed));
      if (!ran) return {};
      units += num::round_to_int64(std::exp(-static_cast<double>(last_[target - 1])) * 0x1p40);
    }
    const double sum = static_cast<double>(units) * 0x1p-40;
    // Of each probability the noise moves a share of its own size.
    const NoiseFloor noise(runs_);
    const double allowed = 1e-5 + noise.threshold(static_cast<int64_t>(vocab_), options_.rate);
    report_.add("probe.target_swap", std::abs(sum - 1.0) <= allowed ? Verdict::kPass : Verdict::kFail,
                fmt::format("token {}: every vocabulary item in its place in turn, the probabilities given sum to {:.9g}, within {:.3g} of 1 wanted (seed {})", target, sum,
                            allowed, options_.seed));
    return {};
  }

  std::span<const uint16_t> tokens_;
  const BlackBoxOptions& options_;
  Report& report_;
  uint32_t vocab_;
  std::vector<Scores> runs_;
  Scores last_;
};

}  // namespace

Status probe_program(std::span<const uint16_t> tokens, const BlackBoxOptions& options, Report& report) {
  if (tokens.size() < 3) return Error{Errc::kData, "--tokens", "holds fewer than three tokens"};
  return BlackBox(tokens, options, report).run();
}

}  // namespace fairway::verifier

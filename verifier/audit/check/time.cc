#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "verifier/audit/check/checks.h"
#include "verifier/audit/read/late_calibration.h"
#include "verifier/audit/read/track.h"
#include "verifier/audit/read/text.h"

namespace fairway::audit {

using verifier::Check;
using verifier::Verdict;

namespace {

/// The step that was running when the clock ran out may end. Late steps take up to twice the average; below a second
/// nobody cares.
double grace_ms(const LoggedRun& run) { return std::max(1000.0, run.step_avg_ms ? 2 * run.step_avg_ms->value : 0.0); }

/// A script that stops itself at the cap runs one step beyond it, which a recompilation may make seconds long. More is
/// no step.
constexpr double kSlowStepMs = 10'000;

bool stops_itself(const LoggedRun& run) {
  if (!run.stop_reason || run.stop_reason->value.find("wallclock") == std::string::npos) return false;
  const auto cap = run.hyperparameters.find("max_wallclock_seconds");
  const auto seconds = cap == run.hyperparameters.end() ? std::nullopt : number_at(cap->second.value);
  return !seconds || seconds->value * 1000 <= kTimeLimitMs;
}

std::string seconds(double ms) { return fmt::format("{:.1f} s", ms / 1000); }

/// The runs a claim rests on; all, where none could be told.
std::vector<const LoggedRun*> reported_runs(const Facts& facts, const ClaimMatch& match) {
  std::vector<const LoggedRun*> out;
  for (const size_t r : match.runs) out.push_back(&facts.runs[r]);
  if (out.empty()) {
    for (const LoggedRun& r : facts.runs) out.push_back(&r);
  }
  return out;
}

/// Training and evaluation may stand in files of their own: the runs of the same seed belong to the claim's runs.
std::vector<const LoggedRun*> with_same_seed(const Facts& facts, std::vector<const LoggedRun*> runs) {
  const std::vector<const LoggedRun*> reported = runs;
  for (const LoggedRun& r : facts.runs) {
    if (!r.seed || !r.train_time_ms || std::find(runs.begin(), runs.end(), &r) != runs.end()) continue;
    for (const LoggedRun* m : reported) {
      if (!m->train_time_ms && m->seed && m->seed->value == r.seed->value) {
        runs.push_back(&r);
        break;
      }
    }
  }
  return runs;
}

void raise(Check& check, Verdict to, std::string message, double ms, const Place& place) {
  const bool heavier = to == Verdict::kFail ? check.status != Verdict::kFail
                                            : check.status != Verdict::kFail && check.status != Verdict::kReview;
  if (heavier) {
    check.status = to;
    check.message = std::move(message);
    check.measured = seconds(ms);
    check.evidence.clear();
  }
  if (to == check.status && check.evidence.size() < 8) check.evidence.push_back({place.file, place.line, 0});
}

/// Whether the hardware of a run is that of the record setting, as far as its log says.
std::optional<int64_t> other_gpu_count(const LoggedRun& run) {
  return run.world_size && run.world_size->value != kRecordGpus ? std::optional(run.world_size->value) : std::nullopt;
}

void skip(Check& check, std::string why, verifier::Report& report) {
  check.status = Verdict::kSkip;
  check.message = std::move(why);
  report.add(std::move(check));
}

void check_train(const Facts& facts, const ClaimMatch& match, Track track, verifier::Report& report) {
  Check check{"time.train", Verdict::kPass, "", seconds(kTimeLimitMs), "", {}};
  if (track == Track::kNonRecord) {
    check.claimed.clear();
    return skip(check, "not a record of the 10-minute track: no limit on training time", report);
  }
  double longest = 0;
  int timed = 0;
  for (const LoggedRun* run : with_same_seed(facts, reported_runs(facts, match))) {
    if (!run->train_time_ms) continue;
    ++timed;
    const double ms = run->train_time_ms->value;
    longest = std::max(longest, ms);
    const Place& place = run->train_time_ms->place;
    const auto gpus = other_gpu_count(*run);
    if (track == Track::kRecord && run->gpu_name && run->gpu_name->value.find("H100") == std::string::npos) {
      raise(
          check, Verdict::kReview,
          fmt::format("trained on \"{}\", which is not the record setting of {} H100: is this entry meant as a record?",
                      run->gpu_name->value, kRecordGpus),
          ms, run->gpu_name->place);
    }
    if (gpus) {
      raise(check, Verdict::kReview,
            fmt::format(
                "trained for {} on {} GPUs, which is not the record setting of {}: is this entry meant as a record?",
                seconds(ms), *gpus, kRecordGpus),
            ms, place);
    } else if (ms > kTimeLimitMs + grace_ms(*run)) {
      const double over = ms - kTimeLimitMs;
      if (track != Track::kRecord || !run->world_size) {
        raise(check, Verdict::kReview,
              fmt::format("training took {}, {} beyond the limit: does the limit apply to this entry?", seconds(ms),
                          seconds(over)),
              ms, place);
      } else if (over <= kSlowStepMs && stops_itself(*run)) {
        raise(check, Verdict::kReview,
              fmt::format("training took {}, {} beyond the limit: was that one slow step?", seconds(ms), seconds(over)),
              ms, place);
      } else {
        raise(check, Verdict::kFail,
              fmt::format("training took {}, {} beyond the limit and more than one step", seconds(ms), seconds(over)),
              ms, place);
      }
    }
    if (const LogMarker* late = gpus ? nullptr : late_calibration(*run); late != nullptr) {
      raise(check, Verdict::kReview,
            "calibration starts after the whole limit was spent on training: on which data, and does it count?", ms,
            late->place);
    }
  }
  if (check.status == Verdict::kPass && timed == 0) {
    const auto& claimed = facts.claims.train_time_seconds;
    if (claimed && claimed->value > 601) {
      raise(check, Verdict::kReview,
            fmt::format("submission.json says {} s of training: over the limit, or another quantity?", claimed->value),
            claimed->value * 1000, claimed->place);
    } else {
      check.claimed.clear();
      return skip(check, "no log tells the training time", report);
    }
  }
  if (check.status == Verdict::kPass) {
    check.measured = seconds(longest);
    check.message = fmt::format("{} runs within the limit{}", timed,
                                longest > kTimeLimitMs ? "; the last step ended after it, which is tolerated" : "");
  }
  report.add(std::move(check));
}

void check_eval(const Facts& facts, const ClaimMatch& match, Track track, verifier::Report& report) {
  Check check{"time.eval", Verdict::kPass, "", seconds(kTimeLimitMs), "", {}};
  if (track == Track::kNonRecord) {
    check.claimed.clear();
    return skip(check, "not a record of the 10-minute track: no limit on evaluation time", report);
  }
  double longest = 0;
  int timed = 0;
  for (const LoggedRun* run : reported_runs(facts, match)) {
    if (run->eval_times_ms.empty() && !run->total_eval_time_ms) continue;
    ++timed;
    const auto gpus = other_gpu_count(*run);
    auto judge = [&](double ms, const Place& place, const char* what, bool certain) {
      longest = std::max(longest, ms);
      if (ms <= kTimeLimitMs + 1000) return;
      if (gpus) {
        raise(check, Verdict::kReview,
              fmt::format("{} took {} on {} GPUs; scaled to {} that is {}: is it within the limit?", what, seconds(ms),
                          *gpus, kRecordGpus, seconds(ms * static_cast<double>(*gpus) / kRecordGpus)),
              ms, place);
      } else if (certain && track == Track::kRecord && run->world_size) {
        raise(check, Verdict::kFail,
              fmt::format("{} took {}, {} beyond the limit", what, seconds(ms), seconds(ms - kTimeLimitMs)), ms, place);
      } else {
        raise(check, Verdict::kReview,
              fmt::format("{} took {}: is all of it part of the scored evaluation?", what, seconds(ms)), ms, place);
      }
    };
    if (run->total_eval_time_ms) {
      judge(run->total_eval_time_ms->value, run->total_eval_time_ms->place, "the whole evaluation", true);
      continue;
    }
    const Fact<double>* longest_stage = nullptr;
    double sum = 0;
    for (const Fact<double>& t : run->eval_times_ms) {
      sum += t.value;
      if (longest_stage == nullptr || t.value > longest_stage->value) longest_stage = &t;
    }
    // A long stage counts against the limit if the reported score is its own.
    const bool reported = std::any_of(match.places.begin(), match.places.end(), [&](const Place& p) {
      return p.file == longest_stage->place.file && std::abs(p.line - longest_stage->place.line) <= 2;
    });
    judge(longest_stage->value, longest_stage->place, "one stage of the evaluation", reported);
    if (longest_stage->value <= kTimeLimitMs + 1000)
      judge(sum, longest_stage->place, "the stages of the evaluation together", false);
  }
  if (check.status == Verdict::kPass && timed == 0) {
    const auto& claimed = facts.claims.eval_time_seconds;
    if (claimed && claimed->value > 601) {
      raise(
          check, Verdict::kReview,
          fmt::format("submission.json says {} s of evaluation: over the limit, or another quantity?", claimed->value),
          claimed->value * 1000, claimed->place);
    } else {
      check.claimed.clear();
      return skip(check, "no log tells the evaluation time", report);
    }
  }
  if (check.status == Verdict::kPass) {
    check.measured = seconds(longest);
    check.message = fmt::format("{} runs within the limit, all stages added", timed);
  }
  report.add(std::move(check));
}

}  // namespace

void check_time(const Facts& facts, const ClaimMatch& match, verifier::Report& report) {
  const Track track = track_of(facts);
  check_train(facts, match, track, report);
  check_eval(facts, match, track, report);
}

}  // namespace fairway::audit

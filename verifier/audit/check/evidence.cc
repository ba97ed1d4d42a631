/// evidence.seeds, evidence.logs, evidence.claims: what a record rests on.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "verifier/audit/check/checks.h"
#include "verifier/audit/read/track.h"

namespace fairway::audit {

using verifier::Check;
using verifier::Verdict;

namespace {

constexpr size_t kSeedsOfARecord = 3;

bool has_final_score(const LoggedRun& run) {
  return std::any_of(run.scores.begin(), run.scores.end(),
                     [](const ScoreLine& s) { return s.val_bpb && !s.diagnostic; });
}

/// Settings that make a configuration; what differs between any two runs (names, paths, measurements) is left out.
bool is_configuration(const std::string& key) {
  static const std::set<std::string> keys = {"num_layers",
                                             "model_dim",
                                             "num_heads",
                                             "num_kv_heads",
                                             "mlp_mult",
                                             "vocab_size",
                                             "train_seq_len",
                                             "train_batch_tokens",
                                             "iterations",
                                             "warmdown_iters",
                                             "max_wallclock_seconds",
                                             "matrix_lr",
                                             "scalar_lr",
                                             "embed_lr",
                                             "tied_embed_lr",
                                             "muon_momentum",
                                             "logit_softcap",
                                             "model_params",
                                             "bigram_vocab_size",
                                             "ema_decay",
                                             "weight_decay",
                                             "muon_wd",
                                             "ttt_enabled",
                                             "ttt_lr",
                                             "ttt_epochs",
                                             "matrix_clip_sigmas",
                                             "embed_clip_sigmas",
                                             "matrix_bits",
                                             "embed_bits",
                                             "compressor",
                                             "num_loops",
                                             "loop_start",
                                             "loop_end"};
  return keys.count(key) != 0;
}

void check_seeds(const Facts& facts, const ClaimMatch& match, Track track, verifier::Report& report) {
  Check check{"evidence.seeds", Verdict::kPass, "", std::to_string(kSeedsOfARecord), "", {}};
  if (track == Track::kNonRecord || !facts.claims.val_bpb) {
    check.status = Verdict::kSkip;
    check.claimed.clear();
    check.message = track == Track::kNonRecord ? "not a record: one run is enough" : "no score claimed";
    report.add(std::move(check));
    return;
  }
  std::set<int64_t> seeds;
  std::vector<const LoggedRun*> runs;
  for (size_t r = 0; r < facts.runs.size(); ++r) {
    const LoggedRun& run = facts.runs[r];
    const bool reported = match.runs.empty() ? has_final_score(run)
                                             : std::find(match.runs.begin(), match.runs.end(), r) != match.runs.end();
    if (!reported) continue;
    runs.push_back(&run);
    if (run.seed) seeds.insert(run.seed->value);
  }
  const size_t count = seeds.empty() ? runs.size() : seeds.size();
  check.measured = std::to_string(count);
  for (const LoggedRun* r : runs) {
    if (check.evidence.size() < 8) check.evidence.push_back({r->file, r->seed ? r->seed->place.line : 0, 0});
  }
  for (size_t i = 1; i < runs.size(); ++i) {
    for (const auto& [key, value] : runs[0]->hyperparameters) {
      if (!is_configuration(key)) continue;
      const auto other = runs[i]->hyperparameters.find(key);
      if (other == runs[i]->hyperparameters.end() || other->second.value == value.value) continue;
      check.status = Verdict::kReview;
      check.message = fmt::format("the runs differ in {}: {} and {}; are they seeds of one configuration?", key,
                                  value.value, other->second.value);
      check.evidence = {{value.place.file, value.place.line, 0},
                        {other->second.place.file, other->second.place.line, 0}};
      report.add(std::move(check));
      return;
    }
  }
  if (count >= kSeedsOfARecord) {
    check.message = fmt::format("{} seeds of one configuration", count);
  } else {
    check.status = Verdict::kReview;
    check.message = fmt::format("{} of {} seeds with a finished log: are there others?", count, kSeedsOfARecord);
  }
  report.add(std::move(check));
}

void check_logs(const Facts& facts, Track track, verifier::Report& report) {
  Check check{"evidence.logs", Verdict::kPass, "", "", "", {}};
  if (facts.log_files.empty()) {
    check.status = track == Track::kRecord ? Verdict::kReview : Verdict::kSkip;
    check.message = track == Track::kRecord ? "a record without a log: where is the evidence?" : "no log";
    report.add(std::move(check));
    return;
  }
  size_t finished = 0, unfinished = 0;
  std::set<std::string> logged;
  for (const LoggedRun& r : facts.runs) {
    const bool done = has_final_score(r);
    // Only a run that began to train can be cut short.
    const bool trains = r.train_time_ms.has_value();
    finished += done;
    if (done && r.seed) logged.insert(std::to_string(r.seed->value));
    if (!done && trains) {
      ++unfinished;
      if (check.evidence.size() < 8) check.evidence.push_back({r.file, r.train_time_ms->place.line, 0});
    }
  }
  std::vector<std::string> missing;
  if (!logged.empty()) {
    for (const std::string& s : facts.claims.seeds) {
      if (logged.count(s) == 0) missing.push_back(s);
    }
  }
  if (finished == 0) {
    check.status = Verdict::kReview;
    check.message = fmt::format("{} log files, none with a final score: are they complete?", facts.log_files.size());
  } else if (!missing.empty()) {
    check.status = Verdict::kReview;
    check.message = fmt::format("no finished log for seed {}: where is it?", fmt::join(missing, ", "));
  } else {
    check.message = fmt::format("{} finished runs in {} log files", finished, facts.log_files.size());
    if (unfinished > 0) check.message += fmt::format("; {} runs have no final score", unfinished);
  }
  report.add(std::move(check));
}

/// The JSON against itself and, seed by seed, against the logs.
void check_claims(const Facts& facts, verifier::Report& report) {
  Check check{"evidence.claims", Verdict::kPass, "", "", "", {}};
  const Claims& c = facts.claims;
  const double tolerance = claim_tolerance(facts);
  int compared = 0;
  auto doubt = [&](std::string message, std::string claimed, std::string measured, const std::vector<Place>& places) {
    if (check.status == Verdict::kPass) {
      check.status = Verdict::kReview;
      check.message = std::move(message);
      check.claimed = std::move(claimed);
      check.measured = std::move(measured);
    }
    for (const Place& p : places) {
      if (check.evidence.size() < 8) check.evidence.push_back({p.file, p.line, 0});
    }
  };
  if (c.val_bpb && c.seed_bpb.size() >= 2) {
    ++compared;
    double sum = 0, lowest = 1e9;
    for (const auto& [seed, bpb] : c.seed_bpb) {
      sum += bpb;
      lowest = std::min(lowest, bpb);
    }
    const double mean = sum / static_cast<double>(c.seed_bpb.size());
    if (std::abs(mean - c.val_bpb->value) > tolerance) {
      const bool best = std::abs(lowest - c.val_bpb->value) <= tolerance;
      doubt(best ? fmt::format("val_bpb is the best of its {} seeds, not their mean", c.seed_bpb.size())
                 : fmt::format("val_bpb is neither the mean nor the best of its {} seeds", c.seed_bpb.size()),
            fmt::format("{}", c.val_bpb->value), fmt::format("{:.8f}", mean), {c.val_bpb->place});
    }
  }
  for (const auto& [seed, bpb] : c.seed_bpb) {
    bool logged = false, agrees = false;
    Place place;
    double last = 0;
    for (const LoggedRun& r : facts.runs) {
      if (!r.seed || std::to_string(r.seed->value) != seed) continue;
      for (const ScoreLine& s : r.scores) {
        if (!s.val_bpb) continue;
        if (!s.diagnostic) {
          logged = true;
          last = *s.val_bpb;
          place = s.place;
        }
        agrees = agrees || std::abs(*s.val_bpb - bpb) <= 5.1e-5 ||
                 (bpb * 1e3 == std::round(bpb * 1e3) && std::abs(*s.val_bpb - bpb) <= 5.1e-4);
      }
    }
    if (!logged) continue;
    ++compared;
    if (!agrees)
      doubt(fmt::format("the log of seed {} prints no such score: which run is meant?", seed), fmt::format("{}", bpb),
            fmt::format("{}", last), {place});
  }
  for (const auto& [seed, bytes] : c.seed_bytes) {
    for (const LoggedRun& r : facts.runs) {
      if (!r.seed || std::to_string(r.seed->value) != seed || !r.total_bytes) continue;
      ++compared;
      if (std::llabs(r.total_bytes->value - bytes.value) <= 100'000)
        continue;  // the script may have been packed afterwards
      doubt(fmt::format("the artifact of seed {} has another size in its log", seed), std::to_string(bytes.value),
            std::to_string(r.total_bytes->value), {bytes.place, r.total_bytes->place});
    }
  }
  if (c.val_bpb && !facts.runs.empty()) ++compared;
  if (compared == 0) {
    check.status = Verdict::kSkip;
    check.message = "nothing in submission.json that a log could confirm";
  } else if (check.status == Verdict::kPass) {
    check.message = c.seed_bpb.empty()
                        ? "nothing contradicts it"
                        : fmt::format("scores of {} seeds agree with their mean and their logs", c.seed_bpb.size());
  }
  report.add(std::move(check));
}

}  // namespace

void check_evidence(const Facts& facts, const ClaimMatch& match, verifier::Report& report) {
  const Track track = track_of(facts);
  check_seeds(facts, match, track, report);
  check_logs(facts, track, report);
  check_claims(facts, report);
}

}  // namespace fairway::audit

#include "verifier/audit/check/seed_scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numbers>

namespace fairway::audit {
namespace {

/// The last line of a run that carries the tag and a score.
const ScoreLine* score_of(const LoggedRun& run, const std::string& tag) {
  const ScoreLine* found = nullptr;
  for (const ScoreLine& s : run.scores) {
    if (s.tag == tag && s.val_bpb) found = &s;
  }
  return found;
}

std::optional<SeedScores> make(Result<stats::Sample> sample, std::string source) {
  if (!sample || sample->count < 2) return std::nullopt;
  SeedScores scores;
  scores.sample = std::move(*sample);
  scores.source = std::move(source);
  return scores;
}

std::optional<SeedScores> from_logs(const Facts& facts, const ClaimMatch& match) {
  std::vector<double> values;
  std::vector<std::string> names;
  std::vector<Place> places;
  int decimals = 17;
  for (size_t r : match.runs) {
    const ScoreLine* s = score_of(facts.runs[r], match.tag);
    if (s == nullptr) continue;
    const std::string name =
        facts.runs[r].seed ? fmt::format("seed {}", facts.runs[r].seed->value) : facts.runs[r].file;
    // A copy of a log is not another run; the same seed with another score is.
    bool copy = false;
    for (size_t i = 0; i < values.size(); ++i) copy = copy || (names[i] == name && values[i] == *s->val_bpb);
    if (copy) continue;
    values.push_back(*s->val_bpb);
    names.push_back(name);
    places.push_back(s->place);
    decimals = std::min(decimals, s->bpb_decimals);
  }
  if (values.size() < 2) return std::nullopt;
  auto scores = make(stats::sample_of(std::move(values), "logs"), fmt::format("{} in the logs", match.tag));
  if (!scores) return std::nullopt;
  scores->sample.names = std::move(names);
  scores->sample.half_unit = 0.5 * std::pow(10.0, -decimals);
  scores->places = std::move(places);
  return scores;
}

/// Digits after the point that a number needs to be itself again.
int decimals_of(double x) {
  const std::string text = fmt::format("{}", x);
  const size_t point = text.find('.');
  return point == std::string::npos ? 0 : static_cast<int>(text.size() - point - 1);
}

std::optional<SeedScores> from_json(const Claims& claims) {
  if (claims.seed_bpb.size() >= 2) {
    std::vector<double> values;
    std::vector<std::string> names;
    int decimals = 0;  // of the longest: JSON readers drop trailing zeros
    for (const auto& [seed, bpb] : claims.seed_bpb) {
      values.push_back(bpb);
      names.push_back("seed " + seed);
      decimals = std::max(decimals, decimals_of(bpb));
    }
    auto scores = make(stats::sample_of(std::move(values), claims.file), "the seeds of " + claims.file);
    if (!scores) return std::nullopt;
    scores->sample.names = std::move(names);
    scores->sample.half_unit = 0.5 * std::pow(10.0, -decimals);
    return scores;
  }
  if (!claims.val_bpb || claims.seeds.size() < 2) return std::nullopt;
  for (const char* key : {"/val_bpb_std", "/std_val_bpb"}) {
    const auto at = claims.scalars.find(key);
    if (at == claims.scalars.end()) continue;
    const double sd = std::strtod(at->second.value.c_str(), nullptr);
    if (!(sd > 0.0)) continue;  // null, or -1 for "unknown"
    auto scores = make(
        stats::sample_of_summary(claims.val_bpb->value, sd, static_cast<int64_t>(claims.seeds.size()), claims.file),
        fmt::format("mean and {} of {}", key + 1, claims.file));
    if (!scores) return std::nullopt;
    scores->sample.half_unit = 0.5 * std::pow(10.0, -decimals_of(claims.val_bpb->value));
    scores->sample.sd_half_unit = 0.5 * std::pow(10.0, -decimals_of(sd));
    scores->places = {claims.val_bpb->place, at->second.place};
    return scores;
  }
  return std::nullopt;
}

double bytes_per_token(const Facts& facts, const ClaimMatch& match) {
  constexpr int kDecimals = 6;  // fewer leave the margin uncertain by more than it can bear
  for (size_t r : match.runs) {
    const ScoreLine* s = score_of(facts.runs[r], match.tag);
    if (s != nullptr && s->val_loss && s->bpb_decimals >= kDecimals && s->loss_decimals >= kDecimals)
      return *s->val_loss / (*s->val_bpb * std::numbers::ln2);
  }
  const Claims& c = facts.claims;
  if (c.val_loss && c.val_bpb && c.val_bpb->value > 0.0 && c.val_loss->value > 0.0)
    return c.val_loss->value / (c.val_bpb->value * std::numbers::ln2);
  return 0.0;
}

}  // namespace

std::optional<SeedScores> seed_scores(const Facts& facts, const ClaimMatch& match) {
  auto logs = from_logs(facts, match), json = from_json(facts.claims);
  auto& best = logs && (!json || logs->sample.count >= json->sample.count) ? logs : json;
  if (best) best->bytes_per_token = bytes_per_token(facts, match);
  return std::move(best);
}

std::optional<SeedScores> seed_scores(const Facts& facts) { return seed_scores(facts, match_claim(facts)); }

}  // namespace fairway::audit

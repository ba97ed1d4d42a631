#include "verifier/audit/check/claim.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "verifier/audit/read/log_lines.h"

namespace fairway::audit {
namespace {

struct TagValue {
  size_t run;
  const ScoreLine* line;
};

/// The last line of each tag in each run, by tag_key.
std::map<std::string, std::vector<TagValue>> values_by_tag(const Facts& facts) {
  std::map<std::string, std::vector<TagValue>> out;
  for (size_t r = 0; r < facts.runs.size(); ++r) {
    for (const ScoreLine& s : facts.runs[r].scores) {
      if (!s.val_bpb) continue;
      auto& values = out[tag_key(s.tag)];
      if (!values.empty() && values.back().run == r) {
        values.back().line = &s;
      } else {
        values.push_back({r, &s});
      }
    }
  }
  return out;
}

double mean_of(const std::vector<TagValue>& values) {
  double sum = 0;
  for (const TagValue& v : values) sum += *v.line->val_bpb;
  return sum / static_cast<double>(values.size());
}

std::string seed_text(const LoggedRun& run) { return run.seed ? std::to_string(run.seed->value) : ""; }

/// The sets of runs whose mean a claim may be: all; those of the seeds the JSON names; the last of each seed; the same
/// without repetition of a value (a log copied under two names).
std::vector<std::vector<TagValue>> groups(const Facts& facts, const std::vector<TagValue>& all) {
  std::vector<std::vector<TagValue>> out = {all};
  auto add = [&](std::vector<TagValue> g) {
    if (!g.empty() && g.size() < all.size()) out.push_back(std::move(g));
  };
  const std::set<std::string> named(facts.claims.seeds.begin(), facts.claims.seeds.end());
  std::vector<TagValue> of_named, distinct;
  std::map<std::string, TagValue> last_of_seed, last_of_named;
  std::set<double> seen;
  for (const TagValue& v : all) {
    const std::string seed = seed_text(facts.runs[v.run]);
    if (named.count(seed) != 0) {
      of_named.push_back(v);
      last_of_named.insert_or_assign(seed, v);
    }
    if (!seed.empty()) last_of_seed.insert_or_assign(seed, v);
    if (seen.insert(*v.line->val_bpb).second) distinct.push_back(v);
  }
  auto values = [](const std::map<std::string, TagValue>& m) {
    std::vector<TagValue> g;
    for (const auto& [seed, v] : m) g.push_back(v);
    return g;
  };
  add(std::move(of_named));
  add(values(last_of_named));
  add(values(last_of_seed));
  add(std::move(distinct));
  return out;
}

/// Larger is better: final before diagnostic, mean before best before other, more runs, printed with more digits,
/// printed later.
struct Rank {
  bool final_value;
  int kind;
  size_t runs;
  int decimals;
  int64_t line;
  auto operator<=>(const Rank&) const = default;
};

ClaimMatch make_match(ClaimMatch::Kind kind, const std::vector<TagValue>& matched, const std::vector<TagValue>& all,
                      double value) {
  ClaimMatch m;
  m.kind = kind;
  m.tag = matched.front().line->tag;
  m.diagnostic = matched.front().line->diagnostic;
  m.value = value;
  m.mean = mean_of(all);
  for (const TagValue& v : kind == ClaimMatch::Kind::kMean ? matched : all) m.runs.push_back(v.run);
  for (const TagValue& v : matched) m.places.push_back(v.line->place);
  return m;
}

/// The JSON's mean over seeds, of which some have no log: every seed with a log must have its value in it.
std::optional<ClaimMatch> match_seeds(const Facts& facts, double claim, double tolerance) {
  const auto& seeds = facts.claims.seed_bpb;
  if (seeds.size() < 2) return std::nullopt;
  double sum = 0;
  for (const auto& [seed, bpb] : seeds) sum += bpb;
  if (std::abs(sum / static_cast<double>(seeds.size()) - claim) > tolerance) return std::nullopt;
  ClaimMatch m;
  for (size_t r = 0; r < facts.runs.size(); ++r) {
    const auto said = seeds.find(seed_text(facts.runs[r]));
    if (said == seeds.end()) continue;
    for (auto s = facts.runs[r].scores.rbegin(); s != facts.runs[r].scores.rend(); ++s) {
      if (!s->val_bpb || std::abs(*s->val_bpb - said->second) > tolerance) continue;
      if (m.tag.empty()) m.tag = s->tag;
      if (tag_key(m.tag) != tag_key(s->tag)) continue;
      m.diagnostic = s->diagnostic;
      m.runs.push_back(r);
      m.places.push_back(s->place);
      break;
    }
  }
  if (m.runs.empty()) return std::nullopt;
  m.kind = ClaimMatch::Kind::kSeedsMean;
  m.value = m.mean = claim;
  return m;
}

}  // namespace

double claim_tolerance(const Facts& facts) {
  const auto at = facts.claims.scalars.find("/val_bpb");
  if (at == facts.claims.scalars.end()) return 5.1e-5;
  const std::string& text = at->second.value;
  const size_t point = text.find('.');
  const size_t decimals = point == std::string::npos ? 0
                          : text.find_first_not_of("0123456789", point + 1) == std::string::npos
                              ? text.size() - point - 1
                              : 8;
  return decimals >= 4 ? 5.1e-5 : 0.51 * std::pow(10.0, -static_cast<double>(std::max<size_t>(decimals, 2)));
}

ClaimMatch match_claim(const Facts& facts) {
  ClaimMatch best;
  if (!facts.claims.val_bpb) return best;
  const double claim = facts.claims.val_bpb->value, tolerance = claim_tolerance(facts);
  Rank best_rank{};
  const auto tags = values_by_tag(facts);
  auto consider = [&](ClaimMatch::Kind kind, int order, const std::vector<TagValue>& matched,
                      const std::vector<TagValue>& all, double value) {
    const ScoreLine& line = *matched.front().line;
    const Rank rank{!line.diagnostic, order, matched.size(), line.bpb_decimals, line.place.line};
    if (best.kind != ClaimMatch::Kind::kNone && rank <= best_rank) return;
    best_rank = rank;
    best = make_match(kind, matched, all, value);
  };
  double nearest = 0;
  for (const auto& [tag, all] : tags) {
    for (const auto& group : groups(facts, all)) {
      const double mean = mean_of(group);
      if (nearest == 0 || std::abs(mean - claim) < std::abs(nearest - claim)) nearest = mean;
      if (std::abs(mean - claim) <= tolerance) {
        consider(ClaimMatch::Kind::kMean, 3, group, all, mean);
        break;
      }
    }
    const auto lowest = std::min_element(all.begin(), all.end(), [](const TagValue& a, const TagValue& b) {
      return *a.line->val_bpb < *b.line->val_bpb;
    });
    if (all.size() > 1 && std::abs(*lowest->line->val_bpb - claim) <= tolerance)
      consider(ClaimMatch::Kind::kBest, 2, {*lowest}, all, *lowest->line->val_bpb);
    for (const TagValue& v : all) {
      if (std::abs(*v.line->val_bpb - claim) <= tolerance)
        consider(ClaimMatch::Kind::kOther, 1, {v}, all, *v.line->val_bpb);
    }
  }
  if (best.kind != ClaimMatch::Kind::kMean || best.diagnostic) {
    if (auto seeds = match_seeds(facts, claim, tolerance);
        seeds && (best.kind == ClaimMatch::Kind::kNone || !seeds->diagnostic))
      best = std::move(*seeds);
  }
  // A value printed within a line of its own kind only once, such as an earlier line of the tag.
  if (best.kind == ClaimMatch::Kind::kNone) {
    for (size_t r = 0; r < facts.runs.size() && best.kind == ClaimMatch::Kind::kNone; ++r) {
      for (const ScoreLine& s : facts.runs[r].scores) {
        if (!s.val_bpb || std::abs(*s.val_bpb - claim) > tolerance) continue;
        best = make_match(ClaimMatch::Kind::kOther, {{r, &s}}, {{r, &s}}, *s.val_bpb);
        break;
      }
    }
  }
  best.nearest = nearest;
  return best;
}

}  // namespace fairway::audit

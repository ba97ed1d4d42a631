#include "verifier/audit/read/submission_json.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "verifier/audit/read/flat_json.h"
#include "verifier/audit/read/text.h"

namespace fairway::audit {
namespace {

using Keys = std::initializer_list<const char*>;

/// The number a scalar stands for; strings such as "1.1234" count.
std::optional<double> number_of(const JsonScalar& s) {
  if (s.type == JsonScalar::Type::kInteger || s.type == JsonScalar::Type::kFloat) return s.number;
  if (s.type != JsonScalar::Type::kString) return std::nullopt;
  const std::string_view text = trim(s.text);
  const auto n = number_at(text);
  return n && n->length == text.size() ? std::optional(n->value) : std::nullopt;
}

/// A count of bytes. Values of a few units are megabytes by mistake of the author (8.0): no count.
std::optional<int64_t> bytes_of(const JsonScalar& s) {
  const auto n = number_of(s);
  return n && *n >= 1000 && *n < 1e15 ? std::optional(static_cast<int64_t>(std::llround(*n))) : std::nullopt;
}

class Reader {
 public:
  Reader(Claims& claims, const FlatJson& json) : claims_(claims), json_(json) {
    for (const JsonScalar& s : json.scalars) by_pointer_.emplace(s.pointer, &s);
  }

  void read() {
    read_score();
    claims_.val_loss = first<double>({"/val_loss", "/mean_val_loss", "/val_loss_mean", "/val_loss/mean"}, number_of);
    claims_.bytes_total =
        first<int64_t>({"/bytes_total", "/artifact_bytes", "/artifact_bytes_max", "/artifact_bytes_mean",
                        "/total_bytes", "/artifact_size_bytes", "/bytes_total_max"},
                       bytes_of);
    claims_.train_time_seconds =
        first<double>({"/training_time_seconds", "/train_time_seconds", "/wallclock_seconds"}, number_of);
    claims_.eval_time_seconds = first<double>({"/eval_time_seconds", "/total_eval_time_seconds"}, number_of);
    claims_.track = text("/track");
    claims_.name = text("/name");
    claims_.author = text("/author");
    if (claims_.author.empty()) claims_.author = text("/author/name");
    claims_.github_id = text("/github_id");
    if (claims_.github_id.empty()) claims_.github_id = text("/author/github");
    claims_.date = text("/date");
    read_seeds();
    for (const JsonScalar& s : json_.scalars) claims_.scalars.emplace(s.pointer, Fact<std::string>{s.text, place(s)});
  }

 private:
  Place place(const JsonScalar& s) const { return {claims_.file, s.line}; }

  const JsonScalar* find(const std::string& pointer) const {
    const auto at = by_pointer_.find(pointer);
    return at == by_pointer_.end() ? nullptr : at->second;
  }

  std::string text(const std::string& pointer) const {
    const JsonScalar* s = find(pointer);
    return s == nullptr || s->type == JsonScalar::Type::kNull ? "" : s->text;
  }

  template <class T, class Convert>
  std::optional<Fact<T>> first(Keys pointers, Convert convert) const {
    for (const char* pointer : pointers) {
      const JsonScalar* s = find(pointer);
      if (s == nullptr) continue;
      if (const auto v = convert(*s)) return Fact<T>{*v, place(*s)};
    }
    return std::nullopt;
  }

  void read_score() {
    const Keys pointers = {"/val_bpb", "/val_bpb/mean",    "/mean_val_bpb",         "/val_bpb_mean",  "/mean_bpb",
                           "/bpb",     "/results/val_bpb", "/results/mean_val_bpb", "/result/val_bpb"};
    claims_.val_bpb = first<double>(pointers, number_of);
    if (!claims_.val_bpb && text("/score_metric") == "val_bpb") claims_.val_bpb = first<double>({"/score"}, number_of);
    if (!claims_.val_bpb && find("/val_bpb") == nullptr) claims_.val_bpb = mean_by_name();
    if (claims_.val_bpb) return;
    for (const char* pointer : pointers) {
      if (const JsonScalar* s = find(pointer); s != nullptr && claims_.val_bpb_text.empty())
        claims_.val_bpb_text = s->text;
    }
  }

  /// A key at the top that says in other words that it is the mean score: "val_bpb_3seed_mean".
  std::optional<Fact<double>> mean_by_name() const {
    for (const JsonScalar& s : json_.scalars) {
      if (s.pointer.find('/', 1) != std::string::npos) continue;
      bool mean = false, bpb = false, plain = true;
      for (std::string_view rest = std::string_view(s.pointer).substr(1); !rest.empty();) {
        const std::string word = lower(rest.substr(0, rest.find('_')));
        rest.remove_prefix(std::min(word.size() + 1, rest.size()));
        mean |= word == "mean" || word == "avg" || word == "average";
        bpb |= word == "bpb";
        const bool count = !word.empty() && is_digit(word[0]);  // "3", "3seed", "3seeds"
        plain &= count || std::set<std::string_view>{"mean",  "avg",   "average", "bpb",  "val", "seed", "seeds",
                                                     "three", "final", "exact",   "over", "of",  "all"}
                                  .count(word) > 0;
      }
      if (!mean || !bpb || !plain) continue;
      if (const auto v = number_of(s); v && *v > 0 && *v < 20) return Fact<double>{*v, place(s)};
    }
    return std::nullopt;
  }

  /// "42" of "seed_42", "seed42" or "42"; empty if `part` names no seed.
  static std::string seed_of(std::string_view part) {
    if (part.starts_with("seed")) part.remove_prefix(4);
    if (part.starts_with("_") || part.starts_with("=")) part.remove_prefix(1);
    return !part.empty() && part.size() <= 12 && std::all_of(part.begin(), part.end(), is_digit) ? std::string(part)
                                                                                                 : "";
  }

  void name_seed(const std::string& seed) {
    if (!seed.empty() && std::find(claims_.seeds.begin(), claims_.seeds.end(), seed) == claims_.seeds.end())
      claims_.seeds.push_back(seed);
  }

  /// The score of one seed, whose value is a scalar at `base` or an object below it.
  bool read_seed_score(const std::string& base, const std::string& seed) {
    if (claims_.seed_bpb.count(seed) != 0) return true;
    for (const char* inner :
         {"", "/val_bpb", "/bpb", "/ttt_bpb", "/sliding_bpb", "/final_bpb", "/val_bpb_exact", "/final_val_bpb",
          "/ttt_val_bpb", "/sliding_val_bpb", "/sw_bpb", "/post_ttt_bpb", "/val_bpb_ttt"}) {
      const JsonScalar* s = find(base + inner);
      const auto v = s == nullptr ? std::nullopt : number_of(*s);
      if (!v || *v <= 0 || *v > 20) continue;  // a seed number or a placeholder in the place of a score
      claims_.seed_bpb[seed] = *v;
      return true;
    }
    return false;
  }

  void read_seed_bytes(const std::string& base, const std::string& seed) {
    for (const char* inner :
         {"/artifact_bytes", "/bytes_total", "/total_bytes", "/artifact_size_bytes", "/artifact_size", "/bytes"}) {
      const JsonScalar* s = find(base + inner);
      if (const auto v = s == nullptr ? std::nullopt : bytes_of(*s))
        claims_.seed_bytes.emplace(seed, Fact<int64_t>{*v, place(*s)});
    }
  }

  /// The parts right below `base`, in order of the file.
  std::vector<std::string> children(const std::string& base) const {
    std::vector<std::string> out;
    const std::string prefix = base + "/";
    for (const JsonScalar& s : json_.scalars) {
      if (!s.pointer.starts_with(prefix)) continue;
      std::string part = s.pointer.substr(prefix.size());
      part.resize(std::min(part.find('/'), part.size()));
      if (out.empty() || out.back() != part) out.push_back(std::move(part));
    }
    return out;
  }

  void read_seed_container(const std::string& base) {
    const std::vector<std::string> parts = children(base);
    const bool is_list = !parts.empty() && parts[0] == "0" && (parts.size() == 1 || parts[1] == "1");
    for (const std::string& part : parts) {
      const std::string at = base + "/" + part;
      std::string seed = is_list ? "" : seed_of(part);
      if (const std::string said = text(at + "/seed"); !said.empty()) seed = said;
      if (is_list && seed.empty()) {
        const JsonScalar* s = find(at);
        if (s != nullptr && s->type == JsonScalar::Type::kInteger) {
          name_seed(s->text);  // "seeds": [42, 1337]
        } else {
          read_seed_score(at, "#" + part);  // a list of scores
        }
        continue;
      }
      if (seed.empty()) continue;
      name_seed(seed);
      read_seed_score(at, seed);
      read_seed_bytes(at, seed);
    }
  }

  void read_seeds() {
    for (const char* base : {"/seed_results", "/seeds", "/per_seed", "/per_seed_results", "/val_bpb_seeds",
                             "/val_bpb_per_seed", "/per_seed_val_bpb", "/results", "/runs", ""}) {
      // At the top and in "results" only keys that say seed count as seeds.
      if (std::string_view(base).empty() || std::string_view(base) == "/results") {
        for (const std::string& part : children(base)) {
          if (!part.starts_with("seed") || seed_of(part).empty()) continue;
          name_seed(seed_of(part));
          read_seed_score(std::string(base) + "/" + part, seed_of(part));
          read_seed_bytes(std::string(base) + "/" + part, seed_of(part));
        }
      } else if (claims_.seed_bpb.empty() || std::string_view(base) == "/seeds") {
        read_seed_container(base);
      }
    }
    for (const std::string& part : children("/artifact_bytes")) {
      const JsonScalar* s = find("/artifact_bytes/" + part);
      if (seed_of(part).empty() || s == nullptr) continue;
      if (const auto v = bytes_of(*s)) claims_.seed_bytes.emplace(seed_of(part), Fact<int64_t>{*v, place(*s)});
    }
    if (const std::string one = text("/seed"); claims_.seeds.empty()) name_seed(seed_of(one));
  }

  Claims& claims_;
  const FlatJson& json_;
  std::map<std::string, const JsonScalar*> by_pointer_;
};

}  // namespace

Claims read_submission_json(const std::string& file, std::string_view text) {
  Claims claims;
  claims.present = true;
  claims.file = file;
  const FlatJson json = read_flat_json(text);
  claims.problem = json.problem;
  claims.problem_line = json.problem_line;
  if (claims.problem.empty() && !json.is_object) {
    claims.problem = "holds a list, not an object";
    claims.problem_line = 1;
  }
  claims.parsed = claims.problem.empty();
  Reader(claims, json).read();
  return claims;
}

}  // namespace fairway::audit

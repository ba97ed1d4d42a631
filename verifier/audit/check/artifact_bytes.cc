#include <fmt/format.h>

#include <algorithm>

#include "verifier/audit/check/checks.h"
#include "verifier/audit/read/text.h"
#include "verifier/audit/read/track.h"

namespace fairway::audit {

using verifier::Check;
using verifier::Verdict;

namespace {

constexpr int64_t kMebiLimitBytes = 16 << 20;  // 16 MiB, what a reader of "16 MB" in a file browser sees

/// The script that trains, as shipped: the largest train*.py, else the largest Python file.
const FileEntry* main_script(const Facts& facts) {
  const FileEntry* best = nullptr;
  bool best_trains = false;
  for (const FileEntry& f : facts.files) {
    if (!f.path.ends_with(".py")) continue;
    const std::string_view name = std::string_view(f.path).substr(f.path.rfind('/') + 1);
    const bool trains = name == "train_gpt.py" || (!best_trains && name.starts_with("train"));
    if (best == nullptr || (trains && !best_trains) ||
        (trains == best_trains && f.size_bytes > best->size_bytes && name != "train_gpt.py")) {
      best = &f;
      best_trains = trains;
    }
    if (name == "train_gpt.py" && f.path.find('/') == std::string::npos) return &f;
  }
  return best;
}

bool is_packed(const Facts& facts, const std::string& path) {
  return std::any_of(facts.sources.begin(), facts.sources.end(),
                     [&](const SourceFile& s) { return s.unpacked && s.path == path; });
}

/// A model shipped in the folder, with content or at least with its size.
const FileEntry* shipped_model(const Facts& facts) {
  const FileEntry* best = nullptr;
  for (const FileEntry& f : facts.files) {
    const std::string name = lower(f.path);
    const bool model = name.ends_with(".ptz") || name.ends_with(".hgz") ||
                       (name.find("model") != std::string::npos && (name.ends_with(".xz") || name.ends_with(".zst") ||
                                                                    name.ends_with(".lzma") || name.ends_with(".npz")));
    if (model && (f.state == FileState::kPresent || f.state == FileState::kTooLarge) &&
        (best == nullptr || f.size_bytes > best->size_bytes))
      best = &f;
  }
  return best;
}

struct Finding {
  Verdict status = Verdict::kPass;
  std::string message;
  int64_t bytes = 0;
  std::vector<Place> places;
  bool model_too_large = false;  ///< without any code
};

/// Code and model of one run, counted as favourably as its log and the shipped script allow.
Finding judge_run(const LoggedRun& run, const FileEntry* script, bool packed) {
  Finding f;
  if (!run.total_bytes && !run.model_bytes) return f;
  const int64_t printed = run.total_bytes ? run.total_bytes->value : 0;
  f.bytes = printed;
  if (run.total_bytes) f.places.push_back(run.total_bytes->place);
  if (run.model_bytes) {
    // Late scripts count their compressed source, wrappers are shipped compressed: the smallest code anybody counts.
    int64_t code = run.code_bytes ? run.code_bytes->value : 0;
    if (script != nullptr && (code == 0 || script->size_bytes < code)) code = script->size_bytes;
    for (const SizeLine& s : run.sizes) {
      if (s.kind == SizeLine::Kind::kCode && s.bytes < code) code = s.bytes;
    }
    // Some scripts try several codecs and ship the best: the smallest model counts.
    Fact<int64_t> model = *run.model_bytes;
    for (const SizeLine& s : run.sizes) {
      if (s.kind == SizeLine::Kind::kModel && s.compressed && s.bytes < model.value) model = {s.bytes, s.place};
    }
    f.bytes = model.value + code;
    f.places.push_back(model.place);
    f.model_too_large = model.value > kArtifactLimitBytes;
    if (f.bytes > kArtifactLimitBytes) {
      const bool agrees = printed == 0 || printed > kArtifactLimitBytes;
      f.status = agrees ? Verdict::kFail : Verdict::kReview;
      f.message = agrees ? fmt::format("model {} and code {} take {} bytes, {} over the limit", model.value, code,
                                       f.bytes, f.bytes - kArtifactLimitBytes)
                         : fmt::format(
                               "model {} and code {} would take {} bytes, but the log prints a total of {}: which "
                               "model was counted?",
                               model.value, code, f.bytes, printed);
      return f;
    }
    if (printed > kArtifactLimitBytes) {
      f.status = Verdict::kReview;
      f.message = fmt::format("the log counts {} bytes, the model and the {} take {}: which code counts?", printed,
                              packed ? "packed script" : "shipped script", f.bytes);
    }
    return f;
  }
  const bool exact = std::any_of(run.sizes.begin(), run.sizes.end(), [&](const SizeLine& s) {
    return s.exact && s.place.line == run.total_bytes->place.line;
  });
  if (printed <= kArtifactLimitBytes) return f;
  f.status = exact && !packed ? Verdict::kFail : Verdict::kReview;
  f.message = exact
                  ? fmt::format("the log counts {} bytes, {} over the limit{}", printed, printed - kArtifactLimitBytes,
                                packed ? "; the script is shipped packed: which code counts?" : "")
                  : fmt::format("the log prints the size rounded, about {} bytes: how many are they exactly?", printed);
  return f;
}

/// A size printed in mega- or mebibytes that is below the limit in one unit and above it in the other.
const SizeLine* unit_trap(const LoggedRun& run) {
  for (const SizeLine& s : run.sizes) {
    if (s.exact || s.kind != SizeLine::Kind::kTotal || run.model_bytes) continue;
    if (s.mebi ? s.bytes > kArtifactLimitBytes
               : s.bytes <= kArtifactLimitBytes && s.bytes > kArtifactLimitBytes * 1'000'000 / 1'048'576)
      return &s;
  }
  return nullptr;
}

/// A total that fits under another name: "bytes_model_int1_zlib_plus_code" beside that of a model which was not
/// submitted.
const std::pair<const std::string, Fact<std::string>>* other_total(const Facts& facts) {
  for (const auto& scalar : facts.claims.scalars) {
    const std::string key = lower(scalar.first);
    if (key.find("bytes") == std::string::npos || key.find("plus_code") == std::string::npos) continue;
    size_t length = 0;
    const auto bytes = integer_at(scalar.second.value, &length);
    if (bytes && length == scalar.second.value.size() && *bytes > 0 && *bytes <= kArtifactLimitBytes) return &scalar;
  }
  return nullptr;
}

}  // namespace

void check_artifact_bytes(const Facts& facts, const ClaimMatch& match, verifier::Report& report) {
  Check check{"artifact.bytes", Verdict::kPass, "", "", "", {}};
  const FileEntry* script = main_script(facts);
  const bool packed = script != nullptr && is_packed(facts, script->path);
  int counted = 0;
  int64_t largest = 0;
  auto add = [&](const Finding& f) {
    if (f.bytes == 0) return;
    ++counted;
    largest = std::max(largest, f.bytes);
    const bool heavier = f.status == Verdict::kFail ? check.status != Verdict::kFail
                                                    : f.status == Verdict::kReview && check.status == Verdict::kPass;
    if (heavier) {
      check.status = f.status;
      check.message = f.message;
      check.evidence.clear();
    }
    if (f.status == check.status) {
      for (const Place& p : f.places) {
        if (check.evidence.size() < 8) check.evidence.push_back({p.file, p.line, 0});
      }
    }
  };
  std::vector<const LoggedRun*> runs;
  for (const size_t r : match.runs) runs.push_back(&facts.runs[r]);
  if (runs.empty()) {
    for (const LoggedRun& r : facts.runs) runs.push_back(&r);
  }
  int64_t smallest_logged = INT64_MAX;
  const auto& claimed_bytes = facts.claims.bytes_total;
  const bool claims_to_fit = claimed_bytes && claimed_bytes->value <= kArtifactLimitBytes;
  std::vector<Finding> findings;
  for (const LoggedRun* run : runs) findings.push_back(judge_run(*run, script, packed));
  const bool one_fits = std::any_of(findings.begin(), findings.end(),
                                    [](const Finding& f) { return f.bytes > 0 && f.status == Verdict::kPass; });
  for (size_t i = 0; i < runs.size(); ++i) {
    const LoggedRun* run = runs[i];
    Finding& f = findings[i];
    // The log contradicts a total that fits: a compressed script, or a run for comparison, may explain that.
    if (f.status == Verdict::kFail && claims_to_fit && (one_fits || !f.model_too_large)) {
      f.status = Verdict::kReview;
      f.message += fmt::format("; submission.json says {}: {}", claimed_bytes->value,
                               one_fits ? "is this run part of the submission?" : "which code counts?");
    }
    if (const auto* other = other_total(facts); other != nullptr && f.status == Verdict::kFail) {
      f.status = Verdict::kReview;
      f.message += fmt::format("; submission.json says {} under {}: which of them is the artifact?",
                               other->second.value, other->first);
      f.places.push_back(other->second.place);
    }
    // Without a claim to tie a run to, its log may be of something that was not submitted.
    if (match.runs.empty() && f.status == Verdict::kFail) {
      f.status = Verdict::kReview;
      f.message += ": is this run the submission?";
    }
    if (f.bytes > 0) smallest_logged = std::min(smallest_logged, f.bytes);
    add(f);
    if (const SizeLine* trap = facts.claims.bytes_total ? nullptr : unit_trap(*run); trap != nullptr) {
      add({Verdict::kReview,
           fmt::format("\"{}\" is {} bytes if that is MiB: how many bytes exactly?", trap->label,
                       trap->mebi ? trap->bytes : trap->bytes / 1'000'000 * 1'048'576),
           trap->bytes,
           {trap->place}});
    }
  }
  std::vector<std::pair<std::string, Fact<int64_t>>> said;
  if (facts.claims.bytes_total) said.emplace_back("", *facts.claims.bytes_total);
  for (const auto& [seed, bytes] : facts.claims.seed_bytes) said.emplace_back(" for seed " + seed, bytes);
  for (const auto& [whose, bytes] : said) {
    if (check.claimed.empty()) check.claimed = std::to_string(bytes.value);
    if (bytes.value <= kArtifactLimitBytes) {
      add({Verdict::kPass, "", bytes.value, {}});
      continue;
    }
    Finding f{Verdict::kFail,
              fmt::format("submission.json says {} bytes{}, {} over the limit{}", bytes.value, whose,
                          bytes.value - kArtifactLimitBytes,
                          bytes.value <= kMebiLimitBytes ? " (16 MB are 16,000,000 bytes, not 16 MiB)" : ""),
              bytes.value,
              {bytes.place}};
    // The uncompressed size put in the wrong place: the log knows better.
    if (smallest_logged <= kArtifactLimitBytes) {
      f.status = Verdict::kReview;
      f.message += fmt::format("; its log counts {}: which is right?", smallest_logged);
    }
    check.claimed = std::to_string(bytes.value);
    add(f);
  }
  // A total of another run or another build: megabytes apart is no rounding.
  constexpr int64_t kFarApart = 1'000'000;
  if (claims_to_fit && check.status == Verdict::kPass && counted > 0) {
    const LoggedRun* nearest = nullptr;
    auto distance = [&](const LoggedRun& r) { return std::llabs(r.total_bytes->value - claimed_bytes->value); };
    for (const LoggedRun* r : runs) {
      if (r->total_bytes && (nearest == nullptr || distance(*r) < distance(*nearest))) nearest = r;
    }
    if (nearest != nullptr && distance(*nearest) > kFarApart) {
      add({Verdict::kReview,
           fmt::format("submission.json says {} bytes, the log counts {}: of which run is the size?",
                       claimed_bytes->value, nearest->total_bytes->value),
           nearest->total_bytes->value,
           {claimed_bytes->place, nearest->total_bytes->place}});
    }
  }
  if (const FileEntry* model = shipped_model(facts); model != nullptr && script != nullptr) {
    const int64_t bytes = model->size_bytes + script->size_bytes;
    Finding f{Verdict::kPass, "", bytes, {{model->path, 0}, {script->path, 0}}};
    if (model->size_bytes > kArtifactLimitBytes) {
      f.status = Verdict::kReview;
      f.message = fmt::format("{} has {} bytes: is it the artifact?", model->path, model->size_bytes);
    } else if (bytes > kArtifactLimitBytes) {
      f.status = packed ? Verdict::kFail : Verdict::kReview;
      f.message = fmt::format("{} and {} take {} bytes{}", model->path, script->path, bytes,
                              packed ? "" : ": is the code counted compressed?");
    }
    add(f);
  }
  if (counted == 0) {
    check.status = Verdict::kSkip;
    check.message = "neither a log nor submission.json counts the artifact's bytes";
  } else {
    check.measured = std::to_string(largest);
    if (check.status == Verdict::kPass)
      check.message = fmt::format("at most {} of {} bytes, code and compressed model", largest, kArtifactLimitBytes);
  }
  report.add(std::move(check));
}

}  // namespace fairway::audit

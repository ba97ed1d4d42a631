#include <fmt/format.h>

#include <algorithm>

#include "verifier/audit/check/checks.h"
#include "verifier/audit/read/track.h"
#include "verifier/audit/check/validation_split.h"
#include "verifier/audit/read/text.h"

namespace fairway::audit {

using verifier::Check;
using verifier::Verdict;

namespace {

/// Shards of the data set that was rebuilt locally with a shuffled document order: four of five validation documents
/// are in its training part.
constexpr int64_t kOverlappingShards = 1499;

struct Collector {
  Check check{"data.split", Verdict::kPass, "", "", "", {}};

  void raise(Verdict to, std::string message, const Place& place) {
    const bool heavier = to == Verdict::kFail ? check.status != Verdict::kFail : check.status == Verdict::kPass;
    if (heavier) {
      check.status = to;
      check.message = std::move(message);
      check.evidence.clear();
    }
    if (to == check.status && check.evidence.size() < 8) check.evidence.push_back({place.file, place.line, 0});
  }
};

bool is_on(const std::string& value) {
  const std::string v = lower(value);
  return v == "1" || v == "true" || v == "yes" || v == "on";
}

void check_runs(const Facts& facts, const ClaimMatch& match, Track track, Collector& out, int& judged) {
  for (size_t r = 0; r < facts.runs.size(); ++r) {
    const LoggedRun& run = facts.runs[r];
    const bool reported = match.runs.empty() || std::find(match.runs.begin(), match.runs.end(), r) != match.runs.end();
    if (!reported) continue;
    for (const char* key : {"train_on_val", "val_only", "train_on_val_only"}) {
      const auto at = run.hyperparameters.find(key);
      if (at != run.hyperparameters.end() && is_on(at->second.value)) {
        out.raise(Verdict::kFail, fmt::format("the log says {}={}: trained on validation data", key, at->second.value),
                  at->second.place);
      }
    }
    for (const char* key : {"train_files", "train_loader", "pattern_train"}) {
      const auto at = run.hyperparameters.find(key);
      if (at != run.hyperparameters.end() && at->second.value.find("fineweb_val") != std::string::npos) {
        out.raise(Verdict::kFail,
                  fmt::format("the log names validation shards as training data ({})", at->second.value),
                  at->second.place);
      }
    }
    if (run.train_shards && run.train_shards->value == kOverlappingShards) {
      out.raise(Verdict::kReview,
                fmt::format("{} training shards: the rebuilt data set whose training part holds most validation "
                            "documents; which documents were trained on?",
                            kOverlappingShards),
                run.train_shards->place);
    }
    if (!run.val_tokens) continue;
    ++judged;
    // The smallest tokenizer's count of a full split is some 36 million.
    if (run.val_tokens->value < 30'000'000 && track != Track::kNonRecord) {
      out.raise(Verdict::kReview,
                fmt::format("{} validation tokens are a part of the split: is the reported score that of the whole?",
                            run.val_tokens->value),
                run.val_tokens->place);
    }
  }
}

/// A shell line that gives a validation shard the name of a training shard: ln -s a/fineweb_val_0.bin
/// b/fineweb_train_0.bin
bool renames_validation(std::string_view line) {
  const size_t from = line.find("fineweb_val"), to = line.find("fineweb_train");
  if (from == std::string_view::npos || to == std::string_view::npos || from > to) return false;
  const std::string_view command = trim(line);
  for (std::string_view verb : {"ln ", "cp ", "mv ", "rsync ", "$ ln ", "$ cp ", "$ mv "}) {
    if (command.starts_with(verb)) return true;
  }
  return false;
}

void check_commands(const std::string& text, const std::string& file, bool everywhere, Collector& out) {
  bool fenced = everywhere;
  Lines lines(text);
  for (std::string_view line; lines.next(line);) {
    if (!everywhere && trim(line).starts_with("```")) fenced = !fenced;
    if (fenced && line.size() < 4096 && renames_validation(line))
      out.raise(Verdict::kFail, "a command gives a validation shard the name of a training shard",
                {file, lines.number()});
  }
}

/// Training files that are validation shards, and stored validation tokens, as far as the source says so in one line.
void check_sources(const Facts& facts, Collector& out) {
  check_commands(facts.readme, facts.readme_file, false, out);
  for (const SourceFile& s : facts.sources) {
    if (s.language != Language::kPython && s.language != Language::kShell) continue;
    if (s.language == Language::kShell) check_commands(s.text, s.name, true, out);
    Lines lines(s.text);
    for (std::string_view line; lines.next(line);) {
      if (line.size() > 1000) continue;
      const size_t comment = line.find('#');
      const std::string_view code = line.substr(0, comment);
      if (code.find("fineweb_val") == std::string_view::npos) continue;
      const size_t target = code.find("train_files");
      const size_t sign = code.find('=', target == std::string_view::npos ? 0 : target);
      if (target == std::string_view::npos || sign == std::string_view::npos || code.find("fineweb_val") < sign)
        continue;
      out.raise(Verdict::kReview, "the training files are validation shards in this line: is it used?",
                {s.name, lines.number()});
    }
  }
  for (const FileEntry& f : facts.files) {
    const std::string name = lower(std::string_view(f.path).substr(f.path.rfind('/') + 1));
    const bool data = name.ends_with(".xz") || name.ends_with(".bin") || name.ends_with(".lzma") ||
                      name.ends_with(".zst") || name.ends_with(".npz") || name.ends_with(".npy");
    if (data && name.find("prefix") != std::string::npos) {
      out.raise(
          Verdict::kReview,
          fmt::format("{} ({} bytes) looks like stored validation tokens: what does it hold?", f.path, f.size_bytes),
          {f.path, 0});
    }
  }
}

}  // namespace

void check_data_split(const Facts& facts, const ClaimMatch& match, verifier::Report& report) {
  Collector out;
  int judged = 0;
  check_runs(facts, match, track_of(facts), out, judged);
  check_sources(facts, out);
  if (out.check.status == Verdict::kPass) {
    if (judged == 0) {
      out.check.status = Verdict::kSkip;
      out.check.message = "no log tells the number of validation tokens";
    } else {
      out.check.message =
          fmt::format("{} runs score the whole validation split; no sign of validation data in training", judged);
    }
  }
  report.add(std::move(out.check));
}

}  // namespace fairway::audit

/// What the readers found in a record folder, each fact with the place it came from. Checks and rules read only this.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "verifier/audit/record_folder.h"

namespace fairway::audit {

/// A place in a file of the folder. `file` may name text that was unpacked: "train_gpt.py!unpacked".
struct Place {
  std::string file;
  int64_t line = 0;  ///< from 1; 0: the file as a whole
};

template <class T>
struct Fact {
  T value{};
  Place place;
};

/// One line that carries a score: "final_int6_sliding_window_exact val_loss:1.9 val_bpb:1.12 eval_time:71234ms".
struct ScoreLine {
  std::string tag;  ///< as printed before val_loss, trimmed
  std::optional<double> val_loss, val_bpb;
  int bpb_decimals = 0;   ///< digits printed after the point
  bool diagnostic = false;  ///< a step, a pre-quantisation or other intermediate value
  Place place;
};

/// One line about progress of an evaluation that adapts: "ttt_chunk [3/120] bpb=1.1", "ttt_epoch:2/3 loss:...".
struct LogMarker {
  std::string text;  ///< the whole line, cut at 400 bytes
  Place place;
};

/// One run inside a log.
struct LoggedRun {
  std::string file;
  std::optional<Fact<int64_t>> seed, world_size;
  /// Every "key: value" of a Hyperparameters block and every key:value of family A's header, by lower-case key.
  std::map<std::string, Fact<std::string>> hyperparameters;
  std::vector<ScoreLine> scores;                                         ///< in order
  std::optional<Fact<int64_t>> model_bytes, code_bytes, total_bytes;     ///< as counted for the artifact
  std::optional<Fact<double>> train_time_ms, step_avg_ms;
  std::vector<Fact<double>> eval_times_ms;                               ///< one per stage
  std::optional<Fact<double>> total_eval_time_ms;
  std::optional<Fact<int64_t>> val_tokens, train_shards;
  std::vector<LogMarker> markers;  ///< lines about test-time training, SLOT, n-grams, calibration, in order
};

enum class Language { kPython, kC, kCpp, kShell };

/// Source text of the folder. A packed script appears twice: as shipped and, with `unpacked`, as what it decodes to.
struct SourceFile {
  std::string path;  ///< the shipped file
  std::string name;  ///< what reports print: `path`, or `path` + "!unpacked"
  Language language = Language::kPython;
  bool unpacked = false;
  std::string text;  ///< UTF-8, line ends "\n"
};

/// What submission.json says; absent keys are empty.
struct Claims {
  bool present = false, parsed = false;
  std::string file, problem;  ///< problem: why it did not parse, with line
  std::optional<Fact<double>> val_bpb, val_loss;
  std::optional<Fact<int64_t>> bytes_total, bytes_code;
  std::optional<Fact<double>> train_time_seconds, eval_time_seconds;
  std::map<std::string, double> seed_bpb;  ///< by seed, or by position where no seed is given
  std::string track, name, author, date;
};

struct Facts {
  std::string folder, ref;
  std::vector<FileEntry> files;
  Claims claims;
  std::vector<LoggedRun> runs;
  std::vector<SourceFile> sources;
  /// The tag whose mean (or best seed) is the claimed val_bpb; empty if none matches.
  std::string reported_tag;
  std::string readme;  ///< text of README.md
  std::vector<std::string> problems;  ///< bounds crossed and files unreadable, by name
};

}  // namespace fairway::audit

/// What the readers found in a record folder, each fact with the place it came from. Checks and rules read only this.
///
/// A reader never judges: a value that is absurd is still what the file says. Empty means "not said", never zero.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "verifier/audit/read/tokenizer_model.h"
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
  std::string tag;  ///< as printed before val_loss, trimmed; for a bpb without a loss, what precedes the number
  std::optional<double> val_loss, val_bpb;
  int bpb_decimals = 0;     ///< digits printed after the point
  int loss_decimals = 0;    ///< likewise
  bool diagnostic = false;  ///< a step, a pre-quantisation or other intermediate value
  Place place;
};

/// One line about progress of an evaluation that adapts: "ttt_chunk [3/120] bpb=1.1", "ttt_epoch:2/3 loss:...".
struct LogMarker {
  std::string text;  ///< the whole line, cut at 400 bytes
  Place place;
};

/// One line that counts bytes: "Total submission size int6+zlib: 15353490 bytes".
struct SizeLine {
  enum class Kind { kModel, kCode, kTotal };
  Kind kind = Kind::kTotal;
  std::string label;        ///< what precedes the number, trimmed
  int64_t bytes = 0;        ///< as printed, units applied
  bool exact = true;        ///< false: printed in MB or MiB, `bytes` is the rounded value
  bool mebi = false;        ///< printed in MiB
  bool compressed = false;  ///< the label names a codec, or says compressed or artifact
  Place place;
};

/// One run inside a log.
struct LoggedRun {
  std::string file;
  int64_t first_line = 1;
  std::optional<Fact<int64_t>> seed, world_size;
  /// Every "key: value" of a Hyperparameters block and every key:value of family A's header, by lower-case key.
  std::map<std::string, Fact<std::string>> hyperparameters;
  std::vector<ScoreLine> scores;                                      ///< in order
  std::vector<SizeLine> sizes;                                        ///< in order
  std::optional<Fact<int64_t>> model_bytes, code_bytes, total_bytes;  ///< as counted for the artifact
  std::optional<Fact<double>> train_time_ms, step_avg_ms;             ///< the last printed; step_avg may be derived
  std::optional<Fact<int64_t>> steps;                                 ///< the last step done
  std::optional<Fact<std::string>> stop_reason;                       ///< "wallclock_cap"
  std::vector<Fact<double>> eval_times_ms;         ///< one per stage, repetitions of one stage removed
  std::optional<Fact<double>> total_eval_time_ms;  ///< a line that says it covers all stages
  std::optional<Fact<int64_t>> val_tokens, train_shards;
  std::optional<Fact<std::string>> gpu_name;  ///< as nvidia-smi prints it: "H100 80GB HBM3"
  std::vector<LogMarker> markers;             ///< lines about test-time training, SLOT, n-grams, calibration, in order
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
  std::string file, problem;  ///< problem: why it did not parse, or what had to be skipped to read it, with line
  int64_t problem_line = 0;
  std::optional<Fact<double>> val_bpb, val_loss;
  std::string val_bpb_text;  ///< what stands in place of a number: "pending", "null"
  std::optional<Fact<int64_t>> bytes_total;
  std::optional<Fact<double>> train_time_seconds, eval_time_seconds;
  std::map<std::string, double> seed_bpb;           ///< by seed, or by position where no seed is given
  std::map<std::string, Fact<int64_t>> seed_bytes;  ///< artifact bytes by seed
  std::vector<std::string> seeds;                   ///< every seed named, in order
  std::string track, name, author, github_id, date;
  std::map<std::string, Fact<std::string>> scalars;  ///< every scalar by its JSON pointer, strings without quotes
};

/// A shipped table of bytes per token (an .npz with base_bytes).
struct ByteTable {
  std::string file;
  std::vector<int64_t> base_bytes;     ///< by token
  std::vector<int64_t> leading_space;  ///< by token: 1 if the evaluation adds a byte for its space; empty: not there
};

struct Facts {
  std::string folder, ref;
  std::string sha256;  ///< over path, size and content of every file read, in order of paths
  std::vector<FileEntry> files;
  Claims claims;
  std::vector<LoggedRun> runs;
  std::vector<std::string> log_files;  ///< every file read as a log, also those without a run
  std::vector<SourceFile> sources;
  std::vector<ByteTable> byte_tables;
  std::vector<TokenizerModel> tokenizers;  ///< one given by the user first, then those of the folder
  /// The tag whose mean (or best seed) is the claimed val_bpb; empty if none matches.
  std::string reported_tag;
  /// The first line of a log that holds the claimed val_bpb to four decimals, in whatever form.
  std::optional<Place> claim_in_logs;
  std::string readme;                 ///< text of README.md
  std::string readme_file;            ///< its path; empty: there is none
  std::vector<std::string> problems;  ///< bounds crossed and files unreadable, by name
};

}  // namespace fairway::audit

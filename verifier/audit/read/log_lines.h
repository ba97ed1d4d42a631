/// One line of a training or evaluation log as the facts it states. Knows nothing of the lines around it, except
/// whether it stands in a block of hyper-parameters.
///
/// Two families of scripts: A prints "key:value" without blanks ("seed:1337", "step:200/20000 ... train_time:9677ms"),
/// B prints a block "Hyperparameters:" of indented "key: value", then "4000/20000 val_loss: 2.9 val_bpb: 1.1
/// train_time: 4.2m".
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "verifier/audit/facts.h"

namespace fairway::audit {

struct Parameter {
  std::string key, value;  ///< key in lower case
};

/// Progress of the training, or its end.
struct TrainLine {
  std::optional<double> time_ms, step_avg_ms;
  std::optional<int64_t> step;
  std::string stop_reason;  ///< of a line "stopping_early: wallclock_cap ..."
};

/// How long an evaluation took.
struct EvalTime {
  double ms = 0;
  bool covers_all_stages = false;  ///< total_eval_time
  std::optional<double> val_bpb;   ///< of the same line: tells a stage printed twice
};

struct BlockStart {};  ///< "Hyperparameters:"
struct Marker {
  std::string text;
};

using LogFact = std::variant<Parameter, TrainLine, EvalTime, ScoreLine, SizeLine, BlockStart, Marker>;

struct LogEvent {
  int64_t line = 0;
  LogFact fact;
};

/// Appends what `line` states. `lowered`: the same line in lower case. `in_block`: a line of a block of
/// hyper-parameters, whose value is the rest of the line. Places of scores and sizes are left to the caller.
void scan_log_line(std::string_view line, std::string_view lowered, int64_t number, bool in_block,
                   std::vector<LogEvent>& out);

/// True for a line that is kept as a LogMarker: one about how the score came about, by its words (in lower case).
bool is_marker(std::string_view lowered);

/// A score line's tag without what differs between runs: "step:12395/20000" gives "step:#/#"; digits inside a word stay
/// ("int6").
std::string tag_key(std::string_view tag);

/// Where the text of a line starts after "[rank0]:", a torchrun prefix or a time stamp.
size_t log_prefix_length(std::string_view line);

}  // namespace fairway::audit

/// Train and evaluation logs: sections, runs and their facts.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "verifier/audit/facts.h"

namespace fairway::audit {

/// The runs of one log, in order; none if the text states no fact about a run. `text`: decoded (decode_text).
///
/// A script's source printed into its log (between lines of 60 and more '=') is not output and is skipped. A log holds
/// several runs where another seed is named, or hyper-parameters are printed again after a final score. `problems`
/// receives bounds that were crossed, by name.
std::vector<LoggedRun> read_log(const std::string& file, std::string_view text, std::vector<std::string>& problems);

/// A name that may belong to a log: .log, .txt or .out and not a list of requirements, a README or notes.
bool is_log_name(std::string_view path);

}  // namespace fairway::audit

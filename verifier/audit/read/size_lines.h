/// The sizes a log line states: "Total submission size int8+zlib: 15863489 bytes", "artifact: 15.9 MB".
#pragma once

#include <string_view>
#include <vector>

#include "verifier/audit/read/log_lines.h"

namespace fairway::audit {

/// Appends every "label: N unit" of a line that counts bytes of a model, of code or of a submission. `lowered`: the same
/// line in lower case.
void scan_sizes(std::string_view line, std::string_view lowered, int64_t number, std::vector<LogEvent>& out);

}  // namespace fairway::audit

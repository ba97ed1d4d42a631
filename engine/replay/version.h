/// What this build is: printed by --version, written into every replay record.
#pragma once

#include <string>

namespace fairway::replay {

/// "0.1.0"
std::string version();

/// One line: version, numerics edition, compiler, build type, backends. Ranks must agree on it.
std::string build_line();

/// The same and the instruction set in use, which may differ between ranks.
std::string version_line();

}  // namespace fairway::replay

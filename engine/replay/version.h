/// What this build is: printed by --version, written into every replay record.
#pragma once

#include <string>

namespace fairway::replay {

/// "0.1.0"
std::string version();

/// One line: version, numerics edition, compiler, build type, flags, backends, instruction set in use.
std::string version_line();

}  // namespace fairway::replay

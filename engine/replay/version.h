/// What this build is: printed by --version, written into every replay record.
#pragma once

#include <string>

namespace fairway::replay {

/// Edition of kernels/NUMERICS.md; results of different editions are not comparable.
constexpr int kNumericsEdition = 1;

/// "0.1.0"
std::string version();

/// One line: version, numerics edition, compiler, build type, flags, backends, instruction set in use.
std::string version_line();

}  // namespace fairway::replay

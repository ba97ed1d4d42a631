/// Which instruction set the CPU backend uses. The bits do not depend on it; the speed does.
#pragma once

#include <string>

namespace fairway::kernels {

enum class Isa { kPortable, kAvx2, kAvx512 };

/// The set in use: FAIRWAY_ISA=portable|avx2|avx512 if given, else the widest this CPU has (AVX2 needs FMA; AVX-512 needs
/// F, BW, DQ, VL and VNNI). Asking for a set the CPU lacks, or an unknown name, ends the program with a message (exit 69).
Isa active_isa();

/// Overrides the choice, for tests and benchmarks. False if this CPU or build lacks the set.
bool set_isa(Isa isa);
bool isa_available(Isa isa);
std::string isa_name(Isa isa);

}  // namespace fairway::kernels

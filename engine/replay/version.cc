#include "engine/replay/version.h"

#include <fmt/format.h>

#include "engine/comm/communicator.h"
#include "kernels/cpu/isa.h"
#include "kernels/cuda/device.h"
#include "kernels/numerics_edition.h"

namespace fairway::replay {
namespace {

#if defined(__clang__)
constexpr const char* kCompiler = "clang++ " __clang_version__;
#else
constexpr const char* kCompiler = "g++ " __VERSION__;
#endif

}  // namespace

std::string version() { return FAIRWAY_VERSION; }

std::string version_line() {
  return fmt::format("fairway {} numerics {} compiler {} build {} isa {} mpi {} cuda {}", version(), kNumericsEdition, kCompiler,
                     FAIRWAY_BUILD_TYPE, kernels::isa_name(kernels::active_isa()), comm::built_with_mpi() ? "yes" : "no", cuda::built_with_cuda() ? "yes" : "no");
}

}  // namespace fairway::replay

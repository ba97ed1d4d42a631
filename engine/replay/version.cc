#include "engine/replay/version.h"

#include <fmt/format.h>

#include "engine/comm/communicator.h"
#include "engine/comm/device_communicator.h"
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

std::string build_line() {
  const auto has = [](bool it) { return it ? "yes" : "no"; };
  return fmt::format("fairway {} numerics {} compiler {} build {} mpi {} cuda {} nccl {}", version(), kNumericsEdition, kCompiler,
                     FAIRWAY_BUILD_TYPE, has(comm::built_with_mpi()), has(cuda::built_with_cuda()), has(comm::built_with_nccl()));
}

std::string version_line() { return fmt::format("{} isa {}", build_line(), kernels::isa_name(kernels::active_isa())); }

}  // namespace fairway::replay

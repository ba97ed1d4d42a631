/// The ladder's rungs of whole models, climbed by a device: prints "<rung> <SHA-256>" as fairway_ladder does.
///
/// Usage: device_ladder cuda|simulated|simulated-first. Exit code 69, with the reason, where there is no GPU; 70 if the
/// simulation found anything.
#include <cstring>
#include <memory>

#include "kernels/cuda/cuda_executor.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/device_executor.h"
#include "tests/e2e/ladder.h"
#include "tests/kernels/cuda/simulated_device.h"

namespace fairway::ladder {
namespace {

int simulated(bool whole) {
  cuda::DeviceExecutor<test::SimulatedDevice> executor(uint64_t{1});
  whole ? models(executor) : first_models(executor);
  require(executor.sound(), "a value");
  if (executor.queue().problem().empty()) return 0;
  std::fprintf(stderr, "device_ladder: %s\n", executor.queue().problem().c_str());
  return 70;
}

int on_gpu() {
  if (const std::string problem = cuda::device_problem(); !problem.empty()) {
    std::fprintf(stderr, "%s\n", problem.c_str());
    return 69;
  }
  const std::unique_ptr<kernels::Executor> executor = cuda::cuda_executor();
  models(*executor);
  require(executor->sound(), "a value");
  return 0;
}

}  // namespace
}  // namespace fairway::ladder

int main(int argc, char** argv) {
  const std::string mode = argc == 2 ? argv[1] : "";
  if (mode == "cuda") return fairway::ladder::on_gpu();
  if (mode == "simulated" || mode == "simulated-first") return fairway::ladder::simulated(mode == "simulated");
  std::fprintf(stderr, "usage: device_ladder cuda|simulated|simulated-first\n");
  return 64;
}

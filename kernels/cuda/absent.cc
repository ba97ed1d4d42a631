/// What a build without CUDA says of it.
#include "kernels/cuda/cuda_executor.h"
#include "kernels/cuda/device.h"

namespace fairway::cuda {

bool built_with_cuda() { return false; }

std::string device_problem() { return "this build has no CUDA; configure with -DFAIRWAY_CUDA=ON, or use --device cpu"; }

std::unique_ptr<kernels::Executor> cuda_executor(int) { throw DeviceError(device_problem()); }

std::string device_name(kernels::Executor&) { throw DeviceError(device_problem()); }

}  // namespace fairway::cuda

/// The executor of a GPU (kernels/executor.h).
#pragma once

#include <memory>
#include <string>

#include "kernels/cuda/device.h"
#include "kernels/executor.h"

namespace fairway::cuda {

/// The GPU with this rank on this machine. Throws DeviceError (device.h) if it cannot be used, also from every later
/// call that fails.
std::unique_ptr<kernels::Executor> cuda_executor(int local_rank = 0);

/// The GPU of an executor that `cuda_executor` made (in a build with CUDA), and what it is called.
Device& device_of(kernels::Executor& executor);
std::string device_name(kernels::Executor& executor);

}  // namespace fairway::cuda

/// The executor of a GPU (kernels/executor.h).
#pragma once

#include <memory>

#include "kernels/executor.h"

namespace fairway::cuda {

/// The GPU with this rank on this machine. Throws DeviceError (device.h) if it cannot be used, also from every later
/// call that fails.
std::unique_ptr<kernels::Executor> cuda_executor(int local_rank = 0);

}  // namespace fairway::cuda

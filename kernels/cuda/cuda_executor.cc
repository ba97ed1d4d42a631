#include "kernels/cuda/cuda_executor.h"

#include "kernels/cuda/device_executor.h"
#include "kernels/cuda/start.h"

namespace fairway::cuda {

std::unique_ptr<kernels::Executor> cuda_executor(int local_rank) {
  return std::make_unique<DeviceExecutor<Device>>(local_rank);
}

Device& device_of(kernels::Executor& executor) { return static_cast<DeviceExecutor<Device>&>(executor).queue(); }

std::string device_name(kernels::Executor& executor) { return device_of(executor).name(); }

}  // namespace fairway::cuda

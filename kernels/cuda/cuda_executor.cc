#include "kernels/cuda/cuda_executor.h"

#include "kernels/cuda/device_executor.h"
#include "kernels/cuda/start.h"

namespace fairway::cuda {

std::unique_ptr<kernels::Executor> cuda_executor(int local_rank) {
  return std::make_unique<DeviceExecutor<Device>>(local_rank);
}

}  // namespace fairway::cuda

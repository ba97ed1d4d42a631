/// Every call of the CUDA runtime goes through FAIRWAY_CUDA.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/device.h"

namespace fairway::cuda {

[[noreturn]] inline void failed(cudaError_t code, const char* call, const char* file, int line) {
  throw DeviceError(std::string("CUDA: ") + cudaGetErrorString(code) + " (" + cudaGetErrorName(code) + ") from " + call + " at " + file + ":" +
                    std::to_string(line));
}

}  // namespace fairway::cuda

#define FAIRWAY_CUDA(call)                                                                             \
  do {                                                                                                 \
    const cudaError_t fairway_code = (call);                                                           \
    if (fairway_code != cudaSuccess) ::fairway::cuda::failed(fairway_code, #call, __FILE__, __LINE__); \
  } while (false)

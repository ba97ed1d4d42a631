/// Launches of kernel bodies. One __global__ template serves them all; its name in PTX carries the body's type.
#pragma once

#include "kernels/check.h"
#include "kernels/cuda/check.h"
#include "kernels/cuda/device_grid.cuh"

namespace fairway::cuda {

template <class Body>
__global__ void __launch_bounds__(Body::kThreads) run(const __grid_constant__ Body body) {
  DeviceGrid g;
  body(g);
}

template <class T>
constexpr size_t shared_bytes() {
  return std::is_same_v<T, NoShared> ? 0 : sizeof(T);
}

/// Most dynamic shared memory of a block without asking for more.
constexpr size_t kPlainSharedBytes = 48 * 1024;

template <class Body>
void launch(Device& device, const Body& body) {
  const int64_t blocks = body.blocks();
  if (blocks == 0) return;
  FAIRWAY_CHECK(blocks > 0 && blocks < (int64_t{1} << 31));
  constexpr size_t bytes = shared_bytes<typename Body::Shared>();
  if constexpr (bytes > kPlainSharedBytes) {
    FAIRWAY_CUDA(cudaFuncSetAttribute(run<Body>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
  }
  run<Body><<<static_cast<unsigned>(blocks), Body::kThreads, bytes, device.stream()>>>(body);
  FAIRWAY_CUDA(cudaGetLastError());
}

}  // namespace fairway::cuda

#include "kernels/cuda/check.h"

namespace fairway::cuda {

bool built_with_cuda() { return true; }

std::string device_problem() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaErrorNoDevice || (code == cudaSuccess && count == 0)) return "no CUDA device is visible; --device cpu runs without one";
  if (code == cudaErrorInsufficientDriver) {
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (driver == 0) return "no CUDA driver is installed; --device cpu runs without one";
    return "the CUDA driver supports " + std::to_string(driver / 1000) + "." + std::to_string(driver % 1000 / 10) + ", this build needs " +
           std::to_string(runtime / 1000) + "." + std::to_string(runtime % 1000 / 10) + "; install a newer driver";
  }
  if (code != cudaSuccess) return std::string("CUDA cannot be used: ") + cudaGetErrorString(code);
  return "";
}

Device::Device(int local_rank) {
  if (std::string problem = device_problem(); !problem.empty()) throw DeviceError(problem);
  int count = 0;
  FAIRWAY_CUDA(cudaGetDeviceCount(&count));
  if (local_rank >= count) {
    throw DeviceError("rank " + std::to_string(local_rank) + " of this machine has no GPU of its own: " + std::to_string(count) +
                      " are visible; start at most that many ranks here");
  }
  FAIRWAY_CUDA(cudaSetDevice(local_rank));
  cudaDeviceProp properties{};
  FAIRWAY_CUDA(cudaGetDeviceProperties(&properties, local_rank));
  if (properties.major < 8) {
    throw DeviceError(std::string(properties.name) + " has compute capability " + std::to_string(properties.major) + "." +
                      std::to_string(properties.minor) + "; 8.0 or later is needed");
  }
  int driver = 0;
  FAIRWAY_CUDA(cudaDriverGetVersion(&driver));
  name_ = std::string(properties.name) + ", compute capability " + std::to_string(properties.major) + "." + std::to_string(properties.minor) +
          ", driver " + std::to_string(driver / 1000) + "." + std::to_string(driver % 1000 / 10);
  FAIRWAY_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking));
  failure_ = static_cast<uint32_t*>(allocate(sizeof(uint32_t), "the failure word"));
  zero(failure_, sizeof(uint32_t));
}

Device::~Device() {
  // Errors cannot be thrown from here; whatever failed before was reported by the call that met it.
  cudaFree(failure_);
  cudaStreamDestroy(stream_);
}

void Device::synchronise() { FAIRWAY_CUDA(cudaStreamSynchronize(stream_)); }

uint32_t Device::take_failure() {
  uint32_t bits = 0;
  copy_to_host(&bits, failure_, sizeof bits);
  if (bits != 0) zero(failure_, sizeof bits);
  return bits;
}

void* Device::allocate(size_t bytes, const char* what) {
  void* p = nullptr;
  const cudaError_t code = cudaMalloc(&p, bytes);
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // this one is handled
    size_t free = 0, total = 0;
    cudaMemGetInfo(&free, &total);
    throw DeviceError("out of device memory: " + std::to_string(bytes) + " bytes wanted for " + what + ", " + std::to_string(free) + " of " +
                      std::to_string(total) + " are free; use shorter chunks (grad_chunk_tokens) or more ranks");
  }
  FAIRWAY_CUDA(code);
  return p;
}

void Device::release(void* p) { cudaFree(p); }

void Device::copy_to_device(void* to, const void* from, size_t bytes) {
  FAIRWAY_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_));
}

void Device::copy_to_host(void* to, const void* from, size_t bytes) {
  FAIRWAY_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_));
  synchronise();
}

void Device::copy(void* to, const void* from, size_t bytes) { FAIRWAY_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_)); }

size_t Device::free_bytes() {
  size_t free = 0, total = 0;
  FAIRWAY_CUDA(cudaMemGetInfo(&free, &total));
  return free;
}

void Device::zero(void* p, size_t bytes) { FAIRWAY_CUDA(cudaMemsetAsync(p, 0, bytes, stream_)); }

}  // namespace fairway::cuda

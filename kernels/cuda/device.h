/// A GPU as the kernels see it: one stream, memory, and the word in which kernels report what they cannot use.
///
/// It is a queue: a kernels::Memory with `launch(body)`, which runs a kernel body after all that was queued before, and `failure()`. The simulated
/// device of the tests is another, so whatever takes a `Queue&` runs on both.
///
/// Errors of the machine (no device, out of memory, a failed launch) are a DeviceError, thrown where they happen and turned into one
/// line and an exit code by main: nothing in between could go on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/buffer.h"
#include "kernels/cuda/grid.h"

struct CUstream_st;

namespace fairway::cuda {

struct DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// True if the build has CUDA.
bool built_with_cuda();

/// What a run on a GPU lacks, in one line: no support in the build, no driver, a driver too old, no device; empty if nothing.
std::string device_problem();

/// Sets the device of this process by its rank on this machine. Throws DeviceError if there is none.
class Device : public kernels::Memory {
 public:
  explicit Device(int local_rank = 0);
  ~Device() override;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  CUstream_st* stream() const { return stream_; }
  /// The word that kernels report into.
  uint32_t* failure() const { return failure_; }
  /// Waits for the stream, returns the bits reported since the last call (Failure), and clears them.
  uint32_t take_failure();
  void synchronise();

  /// Defined in start.h.
  template <class Body>
  void launch(const Body& body);

  /// Throws DeviceError that says how much was wanted, for what, and how much is free.
  void* allocate(size_t bytes, const char* what) override;
  void release(void* p) override;
  void copy_to_device(void* to, const void* from, size_t bytes) override;
  void copy_to_host(void* to, const void* from, size_t bytes) override;
  void copy(void* to, const void* from, size_t bytes) override;
  void zero(void* p, size_t bytes) override;
  size_t free_bytes() override;

  /// "NVIDIA H100 80GB HBM3, compute capability 9.0, driver 13.0"
  const std::string& name() const { return name_; }

 private:
  CUstream_st* stream_ = nullptr;
  uint32_t* failure_ = nullptr;
  std::string name_;
};

template <class T>
using DeviceBuffer = kernels::Buffer<T>;

}  // namespace fairway::cuda

/// A GPU as the kernels see it: one stream, memory, and the word in which kernels report what they cannot use.
///
/// Errors of the machine (no device, out of memory, a failed launch) are a DeviceError, thrown where they happen and turned into one
/// line and an exit code by main: nothing in between could go on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

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
class Device {
 public:
  explicit Device(int local_rank = 0);
  ~Device();
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;

  CUstream_st* stream() const { return stream_; }
  /// The word that kernels report into.
  uint32_t* failure() const { return failure_; }
  /// Waits for the stream, returns the bits reported since the last call (Failure), and clears them.
  uint32_t take_failure();
  void synchronise();

  /// Device memory. Throws DeviceError that says how much was wanted, for what, and how much is free.
  void* allocate(size_t bytes, const char* what);
  void release(void* p);
  void copy_to_device(void* to, const void* from, size_t bytes);
  /// Waits for the stream.
  void copy_to_host(void* to, const void* from, size_t bytes);
  void zero(void* p, size_t bytes);

  /// "NVIDIA H100 80GB HBM3, compute capability 9.0, driver 13.0"
  const std::string& name() const { return name_; }

 private:
  CUstream_st* stream_ = nullptr;
  uint32_t* failure_ = nullptr;
  std::string name_;
};

/// An owned array on the device. Grows like kernels::Buffer; the device must outlive it.
template <class T>
class DeviceBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  DeviceBuffer(Device& device, const char* what) : device_(&device), what_(what) {}
  DeviceBuffer(Device& device, const char* what, size_t count) : DeviceBuffer(device, what) { resize(count); }
  DeviceBuffer(DeviceBuffer&& other) noexcept : device_(other.device_), what_(other.what_) { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  ~DeviceBuffer() {
    if (data_ != nullptr) device_->release(data_);
  }

  /// Contents are undefined afterwards, unless the capacity sufficed.
  void resize(size_t count) {
    if (count > capacity_) {
      if (data_ != nullptr) device_->release(std::exchange(data_, nullptr));
      capacity_ = 0;
      data_ = static_cast<T*>(device_->allocate(count * sizeof(T), what_));
      capacity_ = count;
    }
    size_ = count;
  }
  void zero() { device_->zero(data_, size_ * sizeof(T)); }
  void upload(const T* from, size_t count) {
    resize(count);
    device_->copy_to_device(data_, from, count * sizeof(T));
  }
  void download(T* to) const { device_->copy_to_host(to, data_, size_ * sizeof(T)); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  void swap(DeviceBuffer& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(what_, other.what_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }
  Device* device_;
  const char* what_;  ///< named by the error when memory runs out; a literal
  T* data_ = nullptr;
  size_t size_ = 0, capacity_ = 0;
};

}  // namespace fairway::cuda

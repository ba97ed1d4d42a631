/// A queue (device.h) that computes nothing and counts the memory that would be asked for: an executor on it tells what
/// a device must have, without one.
#pragma once

#include <cstring>
#include <limits>
#include <unordered_map>

#include "kernels/memory.h"

namespace fairway::cuda {

/// Addresses are invented and must not be followed, as with a device. Copies to the host are zeros.
class PlanQueue : public kernels::Memory {
 public:
  template <class Body>
  void launch(const Body&) {}
  uint32_t* failure() const { return nullptr; }
  uint32_t take_failure() { return 0; }

  void* allocate(size_t bytes, const char*) override {
    bytes = (bytes + kGranularity) / kGranularity * kGranularity;
    const uintptr_t at = next_;
    next_ += bytes;
    size_[at] = bytes;
    live_bytes_ += bytes;
    peak_bytes_ = live_bytes_ > peak_bytes_ ? live_bytes_ : peak_bytes_;
    return reinterpret_cast<void*>(at);
  }
  void release(void* p) override {
    const auto found = size_.find(reinterpret_cast<uintptr_t>(p));
    live_bytes_ -= found->second;
    size_.erase(found);
  }
  void copy_to_device(void*, const void*, size_t) override {}
  void copy_to_host(void* to, const void*, size_t bytes) override { std::memset(to, 0, bytes); }
  void copy(void*, const void*, size_t) override {}
  void zero(void*, size_t) override {}
  size_t free_bytes() override { return std::numeric_limits<size_t>::max(); }

  size_t live_bytes() const { return live_bytes_; }
  size_t peak_bytes() const { return peak_bytes_; }

 private:
  static constexpr size_t kGranularity = 512;  // of the CUDA runtime's allocator
  uintptr_t next_ = uintptr_t{1} << 40;
  std::unordered_map<uintptr_t, size_t> size_;
  size_t live_bytes_ = 0, peak_bytes_ = 0;
};

}  // namespace fairway::cuda

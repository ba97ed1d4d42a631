/// Memory other than the host's own, where buffers of an executor (executor.h) lie.
#pragma once

#include <cstddef>

namespace fairway::kernels {

/// Calls are in order with what the executor does: a copy to the host waits for what was queued before it.
class Memory {
 public:
  virtual ~Memory() = default;
  /// Throws, naming how much was wanted and `what` it was wanted for, if there is not enough. Never null, even for 0
  /// bytes.
  virtual void* allocate(size_t bytes, const char* what) = 0;
  virtual void release(void* p) = 0;
  /// `from`, on the host, may change as soon as this returns.
  virtual void copy_to_device(void* to, const void* from, size_t bytes) = 0;
  /// Waits until `to`, on the host, is filled.
  virtual void copy_to_host(void* to, const void* from, size_t bytes) = 0;
  /// Within this memory; the two must not overlap.
  virtual void copy(void* to, const void* from, size_t bytes) = 0;
  virtual void zero(void* p, size_t bytes) = 0;
  /// How much could still be allocated.
  virtual size_t free_bytes() = 0;
};

}  // namespace fairway::kernels

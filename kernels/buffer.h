/// An owned, 64-byte aligned array of trivial elements: what activations, slices and accumulators live in.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <type_traits>
#include <utility>

#include "kernels/memory.h"

namespace fairway::kernels {

/// Lies in the host's memory, or in another; elements may be read and written by the host only in the first case.
template <class T>
class Buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Buffer() = default;
  explicit Buffer(size_t count) { resize(count); }
  /// In `memory`, which must outlive the buffer; `what` is named by the error when memory runs out and must outlive it
  /// too.
  Buffer(Memory& memory, const char* what, size_t count = 0) : memory_(&memory), what_(what) { resize(count); }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { release(); }

  /// Where the buffer lies from here on; null is the host's memory. Contents are gone if that is somewhere else than
  /// before.
  void place(Memory* memory, const char* what) {
    what_ = what;
    if (memory == memory_) return;
    release();
    size_ = 0;
    memory_ = memory;
  }

  /// Contents are undefined afterwards, unless the capacity sufficed. Throws std::bad_alloc, or what the memory throws.
  void resize(size_t count) {
    if (count > capacity_) {
      release();
      if (memory_ != nullptr) {
        data_ = static_cast<T*>(memory_->allocate(count * sizeof(T), what_));
      } else {
        size_t bytes = (count * sizeof(T) + 63) / 64 * 64;
        data_ = static_cast<T*>(std::aligned_alloc(64, bytes));
        if (data_ == nullptr) throw std::bad_alloc();
      }
      capacity_ = count;
    }
    size_ = count;
  }
  void zero() {
    if (size_ == 0) return;
    if (memory_ != nullptr) return memory_->zero(data_, size_ * sizeof(T));
    std::memset(data_, 0, size_ * sizeof(T));
  }
  /// Resizes and fills from the host.
  void upload(const T* from, size_t count) {
    resize(count);
    if (count == 0) return;
    if (memory_ != nullptr) return memory_->copy_to_device(data_, from, count * sizeof(T));
    std::memcpy(data_, from, count * sizeof(T));
  }
  /// All elements, to the host.
  void download(T* to) const {
    if (size_ == 0) return;
    if (memory_ != nullptr) return memory_->copy_to_host(to, data_, size_ * sizeof(T));
    std::memcpy(to, data_, size_ * sizeof(T));
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  size_t size() const { return size_; }
  T& operator[](size_t i) { return data_[i]; }
  const T& operator[](size_t i) const { return data_[i]; }
  operator std::span<T>() { return {data_, size_}; }
  operator std::span<const T>() const { return {data_, size_}; }

 private:
  void release() {
    if (data_ == nullptr) return;
    if (memory_ != nullptr) {
      memory_->release(data_);
    } else {
      std::free(data_);
    }
    data_ = nullptr;
    capacity_ = 0;
  }
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    std::swap(memory_, other.memory_);
    std::swap(what_, other.what_);
  }
  T* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
  Memory* memory_ = nullptr;
  const char* what_ = "";
};

}  // namespace fairway::kernels

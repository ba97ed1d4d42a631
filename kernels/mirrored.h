/// An array with a copy on the host: parameters, their accumulators and the state of an optimizer.
///
/// An executor computes with data(); the host reads and writes host(). With the host's own memory the two are one array
/// and nothing is copied.
#pragma once

#include "kernels/buffer.h"

namespace fairway::kernels {

template <class T>
class Mirrored {
 public:
  void resize(size_t count) { host_.resize(count); }
  /// Clears both copies.
  void zero() {
    host_.zero();
    device_.zero();
  }

  /// Computes in `memory` from here on (null: the host's); the values move along.
  void use(Memory* memory, const char* what) {
    if (memory_ != nullptr) download();
    device_ = {};
    memory_ = memory;
    if (memory_ == nullptr) return;
    device_.place(memory, what);
    upload();
  }
  /// The executor's copy becomes that of the host, or the reverse.
  void upload() {
    if (memory_ != nullptr) device_.upload(host_.data(), host_.size());
  }
  void download() {
    if (memory_ != nullptr) device_.download(host_.data());
  }

  T* data() { return memory_ != nullptr ? device_.data() : host_.data(); }
  const T* data() const { return memory_ != nullptr ? device_.data() : host_.data(); }
  std::span<T> host() { return host_; }
  std::span<const T> host() const { return host_; }
  size_t size() const { return host_.size(); }

 private:
  Buffer<T> host_, device_;
  Memory* memory_ = nullptr;
};

}  // namespace fairway::kernels

/// What the tests on a GPU share: a device or a reason to skip, and arrays there and back.
#pragma once

#include <gtest/gtest.h>

#include "../support.h"
#include "kernels/cuda/device.h"

namespace fairway::test {

/// Every test of a fixture derived from this is skipped, with the reason, where there is no GPU.
class OnDevice : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string problem = cuda::device_problem(); !problem.empty()) GTEST_SKIP() << problem;
    device_ = std::make_unique<cuda::Device>();
  }
  cuda::Device& device() { return *device_; }

  template <class T>
  cuda::DeviceBuffer<T> upload(const std::vector<T>& x) {
    cuda::DeviceBuffer<T> b(device(), "a test's input");
    b.upload(x.data(), x.size());
    return b;
  }
  template <class T>
  cuda::DeviceBuffer<T> room(int64_t count) {
    return {device(), "a test's output", static_cast<size_t>(count)};
  }
  template <class T>
  static std::vector<T> download(const cuda::DeviceBuffer<T>& b) {
    std::vector<T> x(b.size());
    b.download(x.data());
    return x;
  }

 private:
  std::unique_ptr<cuda::Device> device_;
};

}  // namespace fairway::test

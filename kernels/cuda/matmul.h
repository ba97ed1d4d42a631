/// Quantising and multiplying matrices on a device: kernels/matmul.h with device memory, bit for bit.
///
/// Calls are queued on the device's stream. What kernels/matmul.h returns as false is reported into Device::failure instead.
#pragma once

#include "kernels/cuda/bodies/quantise.h"
#include "kernels/cuda/device.h"
#include "kernels/quantised.h"

namespace fairway::cuda {

/// A quantised matrix on the device; layout as in Slices, plane addresses multiples of 64.
class DeviceQuantised {
 public:
  explicit DeviceQuantised(Device& device) : planes_(device, "int8 slices"), exponents_(device, "exponents"), maxima_(device, "column maxima") {}
  void resize(int64_t rows, int64_t columns, int bits);
  int bits() const { return bits_; }
  Slices view();
  DeviceBuffer<uint32_t>& maxima() { return maxima_; }

 private:
  int bits_ = 0;
  Slices shape_;
  DeviceBuffer<int8_t> planes_;
  DeviceBuffer<int32_t> exponents_;
  DeviceBuffer<uint32_t> maxima_;
};

/// Row r of x becomes row r of `out`.
void quantise_rows(Device& device, Matrix<const float> x, int bits, DeviceQuantised& out);

/// Column c of x becomes row c of `out`.
void quantise_columns(Device& device, Matrix<const float> x, int bits, DeviceQuantised& out);

/// C = A B^T as kernels::exact_matmul: a (M, K), b (N, K), c (M, N).
void exact_matmul(Device& device, DeviceQuantised& a, DeviceQuantised& b, kernels::Products products, Matrix<float> c);

/// `count` products of stacked operands, as kernels::exact_matmul_batched; c (count * M, N).
void exact_matmul_batched(Device& device, DeviceQuantised& a, DeviceQuantised& b, int64_t count, kernels::Products products, Matrix<float> c);

/// kernels::exact_matmul followed by kernels::accumulate, in one kernel: a chunk's gradient never lies in memory.
void exact_matmul_accumulate(Device& device, DeviceQuantised& a, DeviceQuantised& b, kernels::Products products, float limit,
                             Matrix<int64_t> accumulator);

}  // namespace fairway::cuda

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matmul.h"

namespace fairway::cuda {
namespace {

template <int kBits>
void rows(Device& device, Matrix<const float> x, Slices out) {
  launch(device, QuantiseRows<kBits>{x, out, device.failure()});
}

template <int kBits>
void columns(Device& device, Matrix<const float> x, const uint32_t* maxima, Slices out) {
  launch(device, QuantiseColumns<kBits>{x, maxima, out, device.failure()});
}

}  // namespace

void DeviceQuantised::resize(int64_t rows, int64_t columns, int bits) {
  bits_ = bits;
  shape_.rows = rows;
  shape_.columns = columns;
  shape_.stride = (columns + 63) / 64 * 64;
  // Three rows more: cuBLASLt reads rows in fours.
  planes_.resize(static_cast<size_t>(rows * shape_.stride) * static_cast<size_t>(kernels::slices_of_bits(bits)) + 3 * static_cast<size_t>(shape_.stride));
  exponents_.resize(static_cast<size_t>(rows));
}

Slices DeviceQuantised::view() {
  Slices v = shape_;
  for (int s = 0; s < kernels::slices_of_bits(bits_); ++s) v.plane[s] = planes_.data() + s * v.rows * v.stride;
  v.exponent = exponents_.data();
  return v;
}

void quantise_rows(Device& device, Matrix<const float> x, int bits, DeviceQuantised& out) {
  out.resize(x.rows, x.columns, bits);
  if (bits == 7) return rows<7>(device, x, out.view());
  if (bits == 14) return rows<14>(device, x, out.view());
  FAIRWAY_CHECK(bits == 21);
  rows<21>(device, x, out.view());
}

void quantise_columns(Device& device, Matrix<const float> x, int bits, DeviceQuantised& out) {
  out.resize(x.columns, x.rows, bits);
  out.maxima().resize(static_cast<size_t>(x.columns));
  out.maxima().zero();
  uint32_t* maxima = out.maxima().data();
  launch(device, ColumnMaxima{x, maxima});
  if (bits == 7) return columns<7>(device, x, maxima, out.view());
  if (bits == 14) return columns<14>(device, x, maxima, out.view());
  FAIRWAY_CHECK(bits == 21);
  columns<21>(device, x, maxima, out.view());
}

}  // namespace fairway::cuda

#include "kernels/cuda/bodies/matmul.h"

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/matmul.h"

namespace fairway::cuda {
namespace {

template <class Sink>
void multiply(Device& device, DeviceQuantised& a, DeviceQuantised& b, int64_t count, Products products, const Sink& sink) {
  const Slices x = a.view(), y = b.view();
  FAIRWAY_CHECK(x.columns == y.columns && a.bits() == kernels::bits_of_products(products) && b.bits() == a.bits());
  FAIRWAY_CHECK(x.columns <= (products == Products::kS21 ? kernels::kMaxContraction / 2 : kernels::kMaxContraction));
  FAIRWAY_CHECK(count > 0 && x.rows % count == 0 && y.rows % count == 0);
  const auto start = [&](const auto& body) { launch(device, body); };
  const int64_t m = x.rows / count, n = y.rows / count;
  if (products == Products::kP3) return start(ExactMatmul<Products::kP3, Sink>{x, y, count, m, n, sink});
  if (products == Products::kP4) return start(ExactMatmul<Products::kP4, Sink>{x, y, count, m, n, sink});
  start(ExactMatmul<Products::kS21, Sink>{x, y, count, m, n, sink});
}

}  // namespace

void exact_matmul(Device& device, DeviceQuantised& a, DeviceQuantised& b, Products products, Matrix<float> c) {
  exact_matmul_batched(device, a, b, 1, products, c);
}

void exact_matmul_batched(Device& device, DeviceQuantised& a, DeviceQuantised& b, int64_t count, Products products, Matrix<float> c) {
  FAIRWAY_CHECK(c.rows == a.view().rows && c.columns * count == b.view().rows);
  multiply(device, a, b, count, products, StoreProduct{c});
}

void exact_matmul_accumulate(Device& device, DeviceQuantised& a, DeviceQuantised& b, Products products, float limit, Matrix<int64_t> accumulator) {
  FAIRWAY_CHECK(accumulator.rows == a.view().rows && accumulator.columns == b.view().rows);
  multiply(device, a, b, 1, products, AccumulateProduct{accumulator, limit, device.failure()});
}

}  // namespace fairway::cuda

#include "kernels/cuda/functions.h"

#include "kernels/cuda/launch.cuh"

namespace fairway::cuda {
namespace {

template <class Body>
void one_per_thread(Device& device, const Body& values) {
  launch(device, values, (values.count + Body::kThreads - 1) / Body::kThreads);
}

}  // namespace

void evaluate(Device& device, const FunctionValues& values) { one_per_thread(device, values); }
void evaluate(Device& device, const Scalar64Values& values) { one_per_thread(device, values); }
void evaluate(Device& device, const NormalValues& values) { one_per_thread(device, values); }

}  // namespace fairway::cuda

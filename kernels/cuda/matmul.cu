#include "kernels/cuda/bodies/matmul.h"

#include "kernels/cuda/start.cuh"

namespace fairway::cuda {

template void start(Device&, const ExactMatmul<Products::kP3, StoreProduct>&);
template void start(Device&, const ExactMatmul<Products::kP4, StoreProduct>&);
template void start(Device&, const ExactMatmul<Products::kS21, StoreProduct>&);
template void start(Device&, const ExactMatmul<Products::kP3, AccumulateProduct>&);
template void start(Device&, const ExactMatmul<Products::kP4, AccumulateProduct>&);
template void start(Device&, const ExactMatmul<Products::kS21, AccumulateProduct>&);

}  // namespace fairway::cuda

#include "kernels/cuda/bodies/mud.h"

#include "kernels/cuda/bodies/elementwise.h"
#include "kernels/cuda/start.cuh"

namespace fairway::cuda {

template void start(Device&, const Elements<MudBlock>&);
template void start(Device&, const Elements<MudSolved>&);
template void start(Device&, const ExactMatmul<Products::kP3, SubtractProduct>&);
template void start(Device&, const ExactMatmul<Products::kP4, SubtractProduct>&);
template void start(Device&, const ExactMatmul<Products::kS21, SubtractProduct>&);

}  // namespace fairway::cuda

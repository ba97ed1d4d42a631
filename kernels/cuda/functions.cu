#include "kernels/cuda/bodies/functions.h"

#include "kernels/cuda/start.cuh"

namespace fairway::cuda {

template void start(Device&, const FunctionValues&);
template void start(Device&, const Scalar64Values&);
template void start(Device&, const NormalValues&);

}  // namespace fairway::cuda

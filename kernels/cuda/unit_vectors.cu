#include "kernels/cuda/bodies/unit_vectors.h"

#include "kernels/cuda/start.cuh"

namespace fairway::cuda {

template void start(Device&, const UnitRows&);
template void start(Device&, const UnitRowsBackward&);

}  // namespace fairway::cuda

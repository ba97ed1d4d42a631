#include "kernels/cuda/bodies/unit_vectors.h"

#include "kernels/cuda/start.cuh"

namespace fairway::cuda {

template void start(Device&, const WarpRows<UnitRows>&);
template void start(Device&, const WarpRows<UnitRowsBackward>&);

}  // namespace fairway::cuda

#include "kernels/cuda/bodies/rows.h"

#include "kernels/cuda/bodies/elementwise.h"
#include "kernels/cuda/start.cuh"

namespace fairway::cuda {

template void start(Device&, const WarpRows<RmsNorm>&);
template void start(Device&, const WarpRows<RmsNormBackward>&);
template void start(Device&, const WarpRows<RowDot>&);
template void start(Device&, const WarpRows<SquareRows>&);
template void start(Device&, const WarpRows<SquareTotals>&);
template void start(Device&, const CrossEntropy&);
template void start(Device&, const Elements<AddLoss>&);
template void start(Device&, const AccumulateRows&);
template void start(Device&, const Elements<Accumulate>&);
template void start(Device&, const Elements<AccumulateGathered>&);

}  // namespace fairway::cuda

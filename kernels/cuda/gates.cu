#include "kernels/cuda/bodies/gates.h"

#include "kernels/cuda/bodies/elementwise.h"
#include "kernels/cuda/start.cuh"

namespace fairway::cuda {

template void start(Device&, const Elements<SigmoidGates>&);
template void start(Device&, const Elements<SmearChannels<false>>&);
template void start(Device&, const Elements<SmearChannels<true>>&);
template void start(Device&, const Elements<SmearGateTerms>&);
template void start(Device&, const Elements<HeadGates>&);
template void start(Device&, const Elements<SigmoidGradient>&);
template void start(Device&, const WarpRows<SmearTokens>&);
template void start(Device&, const WarpRows<SmearTokensBackward>&);
template void start(Device&, const WarpRows<ExcludeValue>&);
template void start(Device&, const WarpRows<ExcludeValueBackward>&);
template void start(Device&, const WarpRows<FakeQuantiseRows>&);

}  // namespace fairway::cuda

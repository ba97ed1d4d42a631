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
template void start(Device&, const SmearTokens&);
template void start(Device&, const SmearTokensBackward&);
template void start(Device&, const ExcludeValue&);
template void start(Device&, const ExcludeValueBackward&);
template void start(Device&, const FakeQuantiseRows&);

}  // namespace fairway::cuda

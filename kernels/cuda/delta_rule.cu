#include "kernels/cuda/bodies/delta_rule.h"

#include "kernels/cuda/bodies/elementwise.h"
#include "kernels/cuda/start.cuh"

namespace fairway::cuda {

template void start(Device&, const DeltaRule&);
template void start(Device&, const DeltaRuleBackward&);
template void start(Device&, const Elements<ShortConvolution>&);
template void start(Device&, const Elements<SiluBackward>&);
template void start(Device&, const Elements<ShortConvolutionBackward>&);
template void start(Device&, const Elements<MovedBack>&);
template void start(Device&, const Elements<DeltaGates>&);
template void start(Device&, const Elements<DeltaGatesBackward>&);
template void start(Device&, const Elements<SwishGate>&);
template void start(Device&, const Elements<SwishGateBackward>&);

}  // namespace fairway::cuda

#include "kernels/cuda/bodies/elementwise.h"

#include "kernels/cuda/bodies/turn.h"
#include "kernels/cuda/start.cuh"

namespace fairway::cuda {

template void start(Device&, const Elements<MixChannels>&);
template void start(Device&, const Elements<AddScaledChannels>&);
template void start(Device&, const Elements<InterpolationRates>&);
template void start(Device&, const Elements<Interpolate>&);
template void start(Device&, const Elements<ScaledDifference>&);
template void start(Device&, const Elements<ScaleBy<Per::kChannel>>&);
template void start(Device&, const Elements<ScaleBy<Per::kRow>>&);
template void start(Device&, const Elements<ScaleBy<Per::kHead>>&);
template void start(Device&, const Elements<ScaleBy<Per::kAll>>&);
template void start(Device&, const Elements<Scale>&);
template void start(Device&, const Elements<Add>&);
template void start(Device&, const Elements<AddScaled>&);
template void start(Device&, const Elements<MixScalars>&);
template void start(Device&, const Elements<ReluSquared>&);
template void start(Device&, const Elements<ReluSquaredBackward>&);
template void start(Device&, const Elements<LeakyReluSquared>&);
template void start(Device&, const Elements<LeakyReluSquaredBackward>&);
template void start(Device&, const Elements<Rope<false>>&);
template void start(Device&, const Elements<Rope<true>>&);
template void start(Device&, const Elements<GatherRows>&);
template void start(Device&, const Elements<RoundToBf16>&);
template void start(Device&, const Elements<CheckFinite>&);
template void start(Device&, const Elements<AccumulatedMean>&);
template void start(Device&, const Elements<Adam>&);
template void start(Device&, const Elements<Sgd>&);
template void start(Device&, const Elements<MuonMomentum>&);
template void start(Device&, const Elements<MuonUpdate>&);
template void start(Device&, const Elements<ParallelMuonUpdate>&);
template void start(Device&, const Elements<AddWorker>&);
template void start(Device&, const Elements<WorkerMean>&);
template void start(Device&, const Elements<Average>&);
template void start(Device&, const Elements<NewtonSchulzInput>&);
template void start(Device&, const Elements<NewtonSchulzPolynomial>&);
template void start(Device&, const Elements<NewtonSchulzNext>&);
template void start(Device&, const TurnMatrices&);

}  // namespace fairway::cuda

#include "kernels/cuda/bodies/attention.h"

#include "kernels/cuda/bodies/elementwise.h"
#include "kernels/cuda/start.cuh"

namespace fairway::cuda {

template void start(Device&, const Elements<CheckExponents>&);
template void start(Device&, const Elements<FillExponents>&);
template void start(Device&, const ExponentPrefix&);
template void start(Device&, const LargestExponents&);
template void start(Device&, const TurnHeads<2>&);
template void start(Device&, const TurnHeads<3>&);
template void start(Device&, const AttentionForwardPass<Products::kP3>&);
template void start(Device&, const AttentionForwardPass<Products::kP4>&);
template void start(Device&, const AttentionForwardPass<Products::kS21>&);
template void start(Device&, const AttentionBackwardQueries<Products::kP3>&);
template void start(Device&, const AttentionBackwardQueries<Products::kP4>&);
template void start(Device&, const AttentionBackwardQueries<Products::kS21>&);
template void start(Device&, const AttentionBackwardKeys<Products::kP3, true>&);
template void start(Device&, const AttentionBackwardKeys<Products::kP4, true>&);
template void start(Device&, const AttentionBackwardKeys<Products::kS21, true>&);
template void start(Device&, const AttentionBackwardKeys<Products::kP3, false>&);
template void start(Device&, const AttentionBackwardKeys<Products::kP4, false>&);
template void start(Device&, const AttentionBackwardKeys<Products::kS21, false>&);

}  // namespace fairway::cuda

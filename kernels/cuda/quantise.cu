#include "kernels/cuda/bodies/quantise.h"

#include "kernels/cuda/start.cuh"

namespace fairway::cuda {

template void start(Device&, const QuantiseRows<7>&);
template void start(Device&, const QuantiseRows<14>&);
template void start(Device&, const QuantiseRows<21>&);
template void start(Device&, const ColumnMaxima&);
template void start(Device&, const QuantiseColumns<7>&);
template void start(Device&, const QuantiseColumns<14>&);
template void start(Device&, const QuantiseColumns<21>&);

}  // namespace fairway::cuda

/// Functions of kernels/num evaluated on a device, for the ladder.
#pragma once

#include "kernels/cuda/bodies/functions.h"
#include "kernels/cuda/device.h"

namespace fairway::cuda {

void evaluate(Device& device, const FunctionValues& values);
void evaluate(Device& device, const Scalar64Values& values);
void evaluate(Device& device, const NormalValues& values);

}  // namespace fairway::cuda

/// The definition of `start`, for the sources that instantiate it.
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/start.h"

namespace fairway::cuda {

template <class Body>
void start(Device& device, const Body& body) {
  launch(device, body);
}

}  // namespace fairway::cuda

/// Starts a body on a device's stream, for callers that a C++ compiler builds.
#pragma once

#include "kernels/cuda/device.h"

namespace fairway::cuda {

/// Defined, for every body that the engine and the tests launch, by the sources that instantiate it (start.cuh).
template <class Body>
void start(Device& device, const Body& body);

template <class Body>
void Device::launch(const Body& body) {
  start(*this, body);
}

}  // namespace fairway::cuda

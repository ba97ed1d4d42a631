/// Starts a body on a device's stream, for callers that a C++ compiler builds.
#pragma once

#include "kernels/cuda/device.h"

namespace fairway::cuda {

/// Defined, in rows.cu and elementwise.cu, for the bodies of bodies/rows.h and for Elements of everything in
/// bodies/elementwise.h; in functions.cu for bodies/functions.h.
template <class Body>
void start(Device& device, const Body& body);

}  // namespace fairway::cuda

/// Launches on a simulated grid in which nothing may be found.
#pragma once

#include <gtest/gtest.h>

#include "kernels/cuda/bodies/elementwise.h"
#include "simulated_grid.h"

namespace fairway::test {

template <class Body>
void launch(Simulation& s, const Body& body) {
  s.launch(body);
  ASSERT_EQ(s.problem(), "");
}

template <class Element>
void launch_elements(Simulation& s, int64_t count, const Element& element) {
  launch(s, cuda::Elements<Element>{count, element});
}

}  // namespace fairway::test

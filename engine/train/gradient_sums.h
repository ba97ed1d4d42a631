/// Sums of a step's accumulators over ranks, each begun as soon as the backward pass can add no more to it, so that a
/// device exchanges gradients while it computes others (NUMERICS.md, N7).
#pragma once

#include <vector>

#include "engine/comm/communicator.h"
#include "engine/model/gpt.h"

namespace fairway::train {

/// Every rank begins the sums of all parameters in one order, which follows from the model: as the tape finishes them,
/// then those that it does not train. Also a rank that has met an error, or has no chunk, takes part in all of them.
class GradientSums {
 public:
  GradientSums(model::Gpt& model, comm::Communicator& communicator);
  /// The next parameter of the order: nothing is added to its accumulator before `finish`.
  void begin(model::Parameter& parameter);
  /// Begins what has not begun, and waits; every accumulator then holds the sum. Collective.
  void finish();

 private:
  comm::Communicator& comm_;
  std::vector<model::Parameter*> order_;
  size_t begun_ = 0;
};

}  // namespace fairway::train

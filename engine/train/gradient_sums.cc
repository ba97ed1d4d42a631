#include "engine/train/gradient_sums.h"

#include <algorithm>

#include "engine/base/check.h"

namespace fairway::train {

GradientSums::GradientSums(model::Gpt& model, comm::Communicator& communicator)
    : comm_(communicator), order_(model.tape().finishing_order()) {
  for (auto& p : model.parameters()) {
    if (std::find(order_.begin(), order_.end(), p.get()) == order_.end()) order_.push_back(p.get());
  }
}

void GradientSums::begin(model::Parameter& parameter) {
  FAIRWAY_CHECK(begun_ < order_.size() && order_[begun_] == &parameter);
  ++begun_;
  if (comm_.size() == 1 || parameter.count() == 0) return;
  comm_.begin_sum(parameter.executor().memory(), parameter.gradient(), static_cast<size_t>(parameter.count()));
}

void GradientSums::finish() {
  while (begun_ < order_.size()) begin(*order_[begun_]);
  begun_ = 0;
  comm_.finish_sums();
}

}  // namespace fairway::train

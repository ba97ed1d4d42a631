#include "engine/model/tape.h"

#include <cstring>

#include "kernels/elementwise.h"

namespace fairway::model {

ValueId Tape::add_value(int64_t width) {
  values_.push_back(Value{width, {}, {}, false});
  return static_cast<ValueId>(values_.size() - 1);
}

Status Tape::forward(const Batch& batch) {
  FAIRWAY_CHECK(static_cast<int64_t>(batch.inputs.size()) == batch.tokens());
  FAIRWAY_CHECK(batch.sink != nullptr || static_cast<int64_t>(batch.targets.size()) == batch.tokens());
  FAIRWAY_CHECK(!batch.training || (batch.first_scored == 0 && batch.sink == nullptr && batch.attention == nullptr));
  batch_ = batch;
  for (Value& v : values_) {
    v.data.resize(static_cast<size_t>(batch.tokens() * v.width));
    v.has_gradient = false;
  }
  nll_.resize(batch.sink != nullptr ? 0 : static_cast<size_t>(batch.sequences * (batch.length - batch.first_scored)));
  for (auto& op : ops_) FAIRWAY_TRY(op->forward(*this));
  return {};
}

Status Tape::backward() {
  FAIRWAY_CHECK(batch_.training);
  for (size_t i = ops_.size(); i-- > 0;) FAIRWAY_TRY(ops_[i]->backward(*this));
  return {};
}

kernels::Buffer<float> Tape::take_buffer(size_t count) {
  for (size_t i = 0; i < pool_.size(); ++i) {
    if (pool_[i].size() != count) continue;
    kernels::Buffer<float> buffer = std::move(pool_[i]);
    pool_.erase(pool_.begin() + static_cast<std::ptrdiff_t>(i));
    return buffer;
  }
  return kernels::Buffer<float>(count);
}

const float* Tape::gradient(ValueId v) {
  Value& value = values_[static_cast<size_t>(v)];
  FAIRWAY_CHECK(value.has_gradient);
  return value.gradient.data();
}

Status Tape::contribute(ValueId v, const std::function<Status(float*)>& write) {
  Value& value = values_[static_cast<size_t>(v)];
  const size_t count = value.data.size();
  if (!value.has_gradient) {
    value.gradient = take_buffer(count);
    value.has_gradient = true;
    return write(value.gradient.data());
  }
  kernels::Buffer<float> extra = take_buffer(count);
  Status status = write(extra.data());
  if (status) kernels::add_to(extra.data(), static_cast<int64_t>(count), value.gradient.data());
  pool_.push_back(std::move(extra));
  return status;
}

void Tape::contribute_copy(ValueId v, const float* gradient) {
  Value& value = values_[static_cast<size_t>(v)];
  const size_t count = value.data.size();
  if (value.has_gradient) {
    kernels::add_to(gradient, static_cast<int64_t>(count), value.gradient.data());
    return;
  }
  value.gradient = take_buffer(count);
  value.has_gradient = true;
  std::memcpy(value.gradient.data(), gradient, count * sizeof(float));
}

void Tape::release_gradient(ValueId v) {
  Value& value = values_[static_cast<size_t>(v)];
  value.has_gradient = false;
  pool_.push_back(std::move(value.gradient));
  value.gradient = {};
}

}  // namespace fairway::model

#include "engine/model/tape.h"

#include <unordered_set>

namespace fairway::model {

ValueId Tape::add_value(int64_t width) {
  values_.push_back(Value{width, {}, {}, false});
  return static_cast<ValueId>(values_.size() - 1);
}

Status Tape::use(kernels::Executor& executor) {
  if (executor.memory() != nullptr) {
    for (const auto& op : ops_) {
      if (!op->runs_on_device()) return Error{Errc::kUnavailable, op->label(), "this operation has no form for --device cuda yet; use --device cpu"};
    }
  }
  executor_ = &executor;
  for (Value& v : values_) v.gradient = {};
  pool_.clear();
  scratch_ = {};
  return {};
}

Status Tape::forward(const Batch& batch) {
  FAIRWAY_CHECK(static_cast<int64_t>(batch.inputs.size()) == batch.tokens());
  FAIRWAY_CHECK(batch.sink != nullptr || static_cast<int64_t>(batch.targets.size()) == batch.tokens());
  FAIRWAY_CHECK(!batch.training || (batch.first_scored == 0 && batch.sink == nullptr && batch.attention == nullptr));
  batch_ = batch;
  inputs_ = executor_->stage(batch.inputs, staged_inputs_, "tokens");
  targets_ = executor_->stage(batch.targets, staged_targets_, "tokens");
  running_ = nullptr;
  for (Value& v : values_) {
    v.data.place(executor_->memory(), "activations");
    v.data.resize(static_cast<size_t>(batch.tokens() * v.width));
    v.has_gradient = false;
  }
  resize(nll_, batch.sink != nullptr ? 0 : batch.sequences * (batch.length - batch.first_scored));
  for (auto& op : ops_) {
    running_ = op.get();
    FAIRWAY_TRY(op->forward(*this));
  }
  return {};
}

Status Tape::backward(const std::function<void(Parameter&)>& finished) {
  FAIRWAY_CHECK(batch_.training);
  const auto finishes = finished ? first_trained_by() : std::vector<std::vector<Parameter*>>(ops_.size());
  for (size_t i = ops_.size(); i-- > 0;) {
    running_ = ops_[i].get();
    FAIRWAY_TRY(ops_[i]->backward(*this));
    for (Parameter* p : finishes[i]) finished(*p);
  }
  return {};
}

std::vector<std::vector<Parameter*>> Tape::first_trained_by() const {
  std::vector<std::vector<Parameter*>> list(ops_.size());
  std::unordered_set<const Parameter*> seen;
  for (size_t i = 0; i < ops_.size(); ++i) {
    for (Parameter* p : ops_[i]->trains()) {
      if (seen.insert(p).second) list[i].push_back(p);
    }
  }
  return list;
}

std::vector<Parameter*> Tape::finishing_order() const {
  const auto finishes = first_trained_by();
  std::vector<Parameter*> order;
  for (size_t i = finishes.size(); i-- > 0;) order.insert(order.end(), finishes[i].begin(), finishes[i].end());
  return order;
}

kernels::Buffer<float>& Tape::nll() {
  if (executor_->memory() == nullptr) return nll_;
  host_nll_.resize(nll_.size());
  nll_.download(host_nll_.data());
  return host_nll_;
}

kernels::Buffer<float> Tape::take_buffer(int64_t count) {
  for (size_t i = 0; i < pool_.size(); ++i) {
    if (static_cast<int64_t>(pool_[i].size()) != count) continue;
    kernels::Buffer<float> buffer = std::move(pool_[i]);
    pool_.erase(pool_.begin() + static_cast<std::ptrdiff_t>(i));
    return buffer;
  }
  kernels::Buffer<float> buffer;
  buffer.place(executor_->memory(), "gradients of activations");
  buffer.resize(static_cast<size_t>(count));
  return buffer;
}

const float* Tape::gradient(ValueId v) {
  Value& value = values_[static_cast<size_t>(v)];
  FAIRWAY_CHECK(value.has_gradient);
  return value.gradient.data();
}

Status Tape::contribute(ValueId v, const std::function<Status(float*)>& write) {
  Value& value = values_[static_cast<size_t>(v)];
  const int64_t count = static_cast<int64_t>(value.data.size());
  if (!value.has_gradient) {
    value.gradient = take_buffer(count);
    value.has_gradient = true;
    return write(value.gradient.data());
  }
  kernels::Buffer<float> extra = take_buffer(count);
  Status status = write(extra.data());
  if (status) executor_->add_to(extra.data(), count, value.gradient.data());
  pool_.push_back(std::move(extra));
  return status;
}

void Tape::contribute_copy(ValueId v, const float* gradient) {
  Value& value = values_[static_cast<size_t>(v)];
  const int64_t count = static_cast<int64_t>(value.data.size());
  if (value.has_gradient) {
    executor_->add_to(gradient, count, value.gradient.data());
    return;
  }
  value.gradient = take_buffer(count);
  value.has_gradient = true;
  executor_->copy(gradient, count, value.gradient.data());
}

void Tape::release_gradient(ValueId v) {
  Value& value = values_[static_cast<size_t>(v)];
  value.has_gradient = false;
  pool_.push_back(std::move(value.gradient));
  value.gradient = {};
}

}  // namespace fairway::model

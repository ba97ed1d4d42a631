#include "engine/model/tape.h"

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
  if (executor_->memory() != nullptr && (batch.attention != nullptr || batch.operands != nullptr)) {
    return Error{Errc::kUnavailable, "--device cuda", "what looks into the middle of a pass (neural cache, calibration) has no form for it yet; use --device cpu"};
  }
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

Status Tape::backward() {
  FAIRWAY_CHECK(batch_.training);
  for (size_t i = ops_.size(); i-- > 0;) {
    running_ = ops_[i].get();
    FAIRWAY_TRY(ops_[i]->backward(*this));
  }
  return {};
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

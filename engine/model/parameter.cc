#include "engine/model/parameter.h"

#include <utility>

#include "engine/base/check.h"

namespace fairway::model {
namespace {

ops::FakeForm form_of(Qat qat) {
  switch (qat) {
    case Qat::kInt6Row: return ops::FakeForm::kInt6Row;
    case Qat::kInt8Row: return ops::FakeForm::kInt8Row;
    case Qat::kInt6RowMax: return ops::FakeForm::kInt6RowMax;
    case Qat::kNone: break;
  }
  FAIRWAY_CHECK(false);
}

}  // namespace

Parameter::Parameter(std::string name, std::vector<int64_t> shape, Group group, bool bf16)
    : name_(std::move(name)), shape_(std::move(shape)), count_(1), group_(group), bf16_(bf16) {
  for (int64_t n : shape_) count_ *= n;
  value_.resize(static_cast<size_t>(count_));
  value_.zero();
}

void Parameter::clear_gradient() {
  if (gradient_.size() == 0) {
    gradient_.resize(static_cast<size_t>(count_));
    gradient_.zero();
    gradient_.use(executor_->memory(), name_.c_str());
  }
  gradient_.zero();
}

void Parameter::use(kernels::Executor& executor) {
  executor_ = &executor;
  value_.use(executor.memory(), name_.c_str());
  if (gradient_.size() != 0) gradient_.use(executor.memory(), name_.c_str());
  forward_ = {};
  backward_ = {};
  changed();
}

void Parameter::changed() { forward_ready_ = backward_ready_ = false; }

bool Parameter::quantise(const float* x, bool along_rows, int bits, kernels::Quantised& out) const {
  return along_rows ? executor_->quantise_rows(x, rows(), columns(), columns(), bits, out)
                    : executor_->quantise_columns(x, rows(), columns(), columns(), bits, out);
}

Status Parameter::prepare(Qat qat) {
  const bool fake = qat != Qat::kNone && fake_quantised_;
  if (forward_bits_ == 0 || (forward_ready_ && fake == effective_is_copy_)) return {};
  const float* operand = data();
  if (fake) {
    effective_.place(executor_->memory(), name_.c_str());
    effective_.resize(static_cast<size_t>(count_));
    if (!executor_->fake_quantise_rows(data(), rows(), columns(), form_of(qat), effective_.data())) return Error{Errc::kData, name_, "the parameter is not finite"};
    operand = effective_.data();
  }
  effective_is_copy_ = fake;
  if (!quantise(operand, !in_out_, forward_bits_, forward_))
    return Error{Errc::kData, name_, "the parameter is not finite"};
  forward_ready_ = true;
  backward_ready_ = false;
  return {};
}

Status Parameter::prepare_backward(int bits) {
  if (backward_ready_) return {};
  const float* operand = effective_is_copy_ ? effective_.data() : data();
  if (!quantise(operand, in_out_, bits, backward_)) return Error{Errc::kData, name_, "the parameter is not finite"};
  backward_ready_ = true;
  return {};
}

}  // namespace fairway::model

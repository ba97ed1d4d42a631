/// y = s * x and y = x + s * a with one trained scalar s: how hash and value embeddings enter.
///
/// The gradient of s is one term per token: the row dot of dy with what s multiplies.
#pragma once

#include "engine/model/parameter.h"
#include "engine/model/tape.h"

namespace fairway::model {

class ScalarScale : public Op {
 public:
  ScalarScale(Parameter& s, ValueId in, ValueId out) : Op(s.name()), s_(s), in_(in), out_(out) {}
  std::vector<Parameter*> trains() const override { return {&s_}; }
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  Parameter& s_;
  ValueId in_, out_;
  kernels::Buffer<float> terms_;
};

class ScalarAdd : public Op {
 public:
  ScalarAdd(Parameter& s, ValueId x, ValueId a, ValueId out) : Op(s.name()), s_(s), x_(x), a_(a), out_(out) {}
  std::vector<Parameter*> trains() const override { return {&s_}; }
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  Parameter& s_;
  ValueId x_, a_, out_;
  kernels::Buffer<float> terms_;
};

}  // namespace fairway::model

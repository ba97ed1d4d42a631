/// Exclusive self attention: what a head's output has along the token's own value is taken out (kernels/exclusive_attention.h).
#pragma once

#include "engine/model/config.h"
#include "engine/model/tape.h"

namespace fairway::model {

class ExclusiveAttention : public Op {
 public:
  ExclusiveAttention(std::string label, const ModelConfig& config, ValueId o, ValueId v, ValueId out)
      : Op(std::move(label)), config_(config), o_(o), v_(v), out_(out) {}
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  const ModelConfig& config_;
  ValueId o_, v_, out_;
  kernels::Buffer<float> unit_, norm_, along_;
};

}  // namespace fairway::model

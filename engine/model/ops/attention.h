/// Causal grouped-query attention of every sequence of the batch (kernels/attention.h).
#pragma once

#include "engine/model/config.h"
#include "engine/model/tape.h"

namespace fairway::model {

class Attention : public Op {
 public:
  Attention(std::string label, const ModelConfig& config, ValueId q, ValueId k, ValueId v, ValueId out)
      : Op(std::move(label)), config_(config), q_(q), k_(k), v_(v), out_(out) {}
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  const ModelConfig& config_;
  ValueId q_, k_, v_, out_;
  kernels::Buffer<int32_t> row_max_;
  kernels::Buffer<int64_t> row_units_;
};

}  // namespace fairway::model

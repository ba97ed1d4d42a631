/// Rotary position embedding of every head over its first `width` dims; position = batch.first_position + index in the sequence.
#pragma once

#include "engine/model/tape.h"

namespace fairway::model {

class Rope : public Op {
 public:
  Rope(std::string label, ValueId in, ValueId out, int64_t heads, int64_t width, double base, bool bf16_frequencies)
      : Op(std::move(label)), in_(in), out_(out), heads_(heads), width_(width), base_(base), bf16_(bf16_frequencies) {}
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;

 private:
  /// The table's row of `position`; it reaches `count` positions further.
  const float* table_from(int64_t position, int64_t count);

  ValueId in_, out_;
  int64_t heads_, width_;
  double base_;
  bool bf16_;
  int64_t table_length_ = 0;
  kernels::Buffer<float> table_;
};

}  // namespace fairway::model

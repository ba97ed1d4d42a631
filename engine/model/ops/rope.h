/// Rotary position embedding of every head over its first `width` dims; position = batch.first_position + index in the sequence.
///
/// With a reference length, windows longer than it get the base  base * (window / reference)^(width / (width - 2))  and frequencies that
/// are never rounded to bf16: an "NTK" rescale, which depends on the window's length and not on the positions in use.
#pragma once

#include "engine/model/tape.h"

namespace fairway::model {

class Rope : public Op {
 public:
  struct Angles {
    int64_t width;                 ///< rotated dims of a head, even
    double base;
    bool bf16_frequencies;
    int64_t reference_length = 0;  ///< 0: the base is the same for every window
  };
  Rope(std::string label, ValueId in, ValueId out, int64_t heads, const Angles& angles)
      : Op(std::move(label)), in_(in), out_(out), heads_(heads), angles_(angles) {}
  Status forward(Tape& tape) override;
  Status backward(Tape& tape) override;
  bool runs_on_device() const override { return true; }

 private:
  /// The table's row of `position` in windows of the batch's length; it reaches `count` positions further.
  const float* table_from(Tape& tape, int64_t position, int64_t count);

  ValueId in_, out_;
  int64_t heads_;
  Angles angles_;
  int64_t table_length_ = 0;   ///< positions the table holds
  int64_t table_window_ = 0;   ///< window length its base belongs to; 0: any
  kernels::Buffer<float> table_;  ///< on the host
  kernels::Buffer<float> staged_;
  const float* read_from_ = nullptr;  ///< the table where `table_memory_` has it
  kernels::Memory* table_memory_ = nullptr;
};

}  // namespace fairway::model

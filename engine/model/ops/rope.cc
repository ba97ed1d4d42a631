#include "engine/model/ops/rope.h"

#include <cstring>

#include "kernels/elementwise.h"

namespace fairway::model {

Status Rope::forward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t width = tape.width(in_);
  if (table_length_ < b.length) {
    table_length_ = b.length;
    table_.resize(static_cast<size_t>(b.length * width_));
    kernels::rope_table(b.length, width_, base_, bf16_, table_.data());
  }
  std::memcpy(tape.data(out_), tape.data(in_), static_cast<size_t>(b.tokens() * width) * sizeof(float));
  kernels::rope(tape.data(out_), b.tokens(), b.length, heads_, width / heads_, width_, table_.data(), false);
  return {};
}

Status Rope::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t width = tape.width(in_);
  const float* dy = tape.gradient(out_);
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
    std::memcpy(dx, dy, static_cast<size_t>(b.tokens() * width) * sizeof(float));
    kernels::rope(dx, b.tokens(), b.length, heads_, width / heads_, width_, table_.data(), true);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

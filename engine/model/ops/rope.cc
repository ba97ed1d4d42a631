#include "engine/model/ops/rope.h"

#include <cstring>

#include "kernels/elementwise.h"

namespace fairway::model {

const float* Rope::table_from(int64_t position, int64_t count) {
  const int64_t length = position + count;
  if (table_length_ < length) {
    table_length_ = length;
    table_.resize(static_cast<size_t>(length * width_));
    kernels::rope_table(length, width_, base_, bf16_, table_.data());
  }
  return table_.data() + position * width_;
}

Status Rope::forward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t width = tape.width(in_);
  if (b.attention != nullptr) {
    b.attention->before_rotation(label(), tape.data(in_), b.tokens(), width, [&](float* rows, int64_t tokens, int64_t first_position) {
      kernels::rope(rows, tokens, tokens, heads_, width / heads_, width_, table_from(first_position, tokens), false);
    });
  }
  const float* table = table_from(b.first_position, b.length);
  std::memcpy(tape.data(out_), tape.data(in_), static_cast<size_t>(b.tokens() * width) * sizeof(float));
  kernels::rope(tape.data(out_), b.tokens(), b.length, heads_, width / heads_, width_, table, false);
  return {};
}

Status Rope::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t width = tape.width(in_);
  const float* dy = tape.gradient(out_);
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
    std::memcpy(dx, dy, static_cast<size_t>(b.tokens() * width) * sizeof(float));
    kernels::rope(dx, b.tokens(), b.length, heads_, width / heads_, width_, table_from(b.first_position, b.length), true);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

#include "engine/model/ops/rope.h"

#include <cstring>

#include "kernels/elementwise.h"
#include "kernels/ops/rope.h"

namespace fairway::model {

const float* Rope::table_from(const Batch& b, int64_t position, int64_t count) {
  const bool rescaled = angles_.reference_length > 0 && b.window() > angles_.reference_length;
  const int64_t length = position + count, window = rescaled ? b.window() : 0;
  if (table_length_ < length || table_window_ != window) {
    table_length_ = length;
    table_window_ = window;
    table_.resize(static_cast<size_t>(length * angles_.width));
    const double base = rescaled ? ops::rescaled_rope_base(angles_.base, window, angles_.reference_length, angles_.width) : angles_.base;
    kernels::rope_table(length, angles_.width, base, angles_.bf16_frequencies && !rescaled, table_.data());
  }
  return table_.data() + position * angles_.width;
}

Status Rope::forward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t width = tape.width(in_);
  if (b.attention != nullptr) {
    b.attention->before_rotation(label(), tape.data(in_), b.tokens(), width, [&](float* rows, int64_t tokens, int64_t first_position) {
      kernels::rope(rows, tokens, tokens, heads_, width / heads_, angles_.width, table_from(b, first_position, tokens), false);
    });
  }
  const float* table = table_from(b, b.first_position, b.length);
  std::memcpy(tape.data(out_), tape.data(in_), static_cast<size_t>(b.tokens() * width) * sizeof(float));
  kernels::rope(tape.data(out_), b.tokens(), b.length, heads_, width / heads_, angles_.width, table, false);
  return {};
}

Status Rope::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t width = tape.width(in_);
  const float* dy = tape.gradient(out_);
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
    std::memcpy(dx, dy, static_cast<size_t>(b.tokens() * width) * sizeof(float));
    kernels::rope(dx, b.tokens(), b.length, heads_, width / heads_, angles_.width, table_from(b, b.first_position, b.length), true);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

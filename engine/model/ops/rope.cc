#include "engine/model/ops/rope.h"

#include "kernels/elementwise.h"
#include "kernels/ops/rope.h"

namespace fairway::model {

const float* Rope::table_from(Tape& tape, int64_t position, int64_t count) {
  const Batch& b = tape.batch();
  const bool rescaled = angles_.reference_length > 0 && b.window() > angles_.reference_length;
  const int64_t length = position + count, window = rescaled ? b.window() : 0;
  kernels::Executor& x = tape.executor();
  if (table_length_ < length || table_window_ != window || table_memory_ != x.memory()) {
    table_length_ = length;
    table_window_ = window;
    table_memory_ = x.memory();
    table_.resize(static_cast<size_t>(length * angles_.width));
    const double base = rescaled ? ops::rescaled_rope_base(angles_.base, window, angles_.reference_length, angles_.width) : angles_.base;
    kernels::rope_table(length, angles_.width, base, angles_.bf16_frequencies && !rescaled, table_.data());
    read_from_ = x.stage(std::span<const float>(table_), staged_, "rope tables");
  }
  return read_from_ + position * angles_.width;
}

Status Rope::forward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t width = tape.width(in_);
  if (b.attention != nullptr) {
    b.attention->before_rotation(label(), tape.data(in_), b.tokens(), width, [&](float* rows, int64_t tokens, int64_t first_position) {
      tape.executor().rope(rows, tokens, tokens, heads_, width / heads_, angles_.width, table_from(tape, first_position, tokens), false);
    });
  }
  const float* table = table_from(tape, b.first_position, b.length);
  tape.executor().copy(tape.data(in_), b.tokens() * width, tape.data(out_));
  tape.executor().rope(tape.data(out_), b.tokens(), b.length, heads_, width / heads_, angles_.width, table, false);
  return {};
}

Status Rope::backward(Tape& tape) {
  const Batch& b = tape.batch();
  const int64_t width = tape.width(in_);
  const float* dy = tape.gradient(out_);
  FAIRWAY_TRY(tape.contribute(in_, [&](float* dx) -> Status {
    tape.executor().copy(dy, b.tokens() * width, dx);
    tape.executor().rope(dx, b.tokens(), b.length, heads_, width / heads_, angles_.width, table_from(tape, b.first_position, b.length), true);
    return {};
  }));
  tape.release_gradient(out_);
  return {};
}

}  // namespace fairway::model

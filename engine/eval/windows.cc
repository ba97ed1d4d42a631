#include "engine/eval/windows.h"

#include <fmt/format.h>

#include <algorithm>

namespace fairway::eval {

const char* method_name(Method method) {
  switch (method) {
    case Method::kStandard: return "standard";
    case Method::kSlidingA: return "sliding_a";
    case Method::kSlidingB: return "sliding_b";
    case Method::kSlidingC: return "sliding_c";
    case Method::kSlidingD: return "sliding_d";
  }
  return "";
}

Result<WindowPlan> WindowPlan::create(const EvalConfig& config, int64_t predictions) {
  const int64_t length = config.seq_len, stride = config.stride;
  FAIRWAY_CHECK(predictions >= 1 && length >= 1 && stride >= 1 && stride <= length);
  WindowPlan plan;
  plan.config_ = config;
  plan.predictions_ = predictions;
  plan.full_ = predictions >= length ? (predictions - length) / stride + 1 : 0;
  auto error = [&](const char* what) {
    return Error{Errc::kData, "eval.method", fmt::format("{} {}: {} predictions, eval.seq_len = {}", method_name(config.method), what,
                                                         predictions, length)};
  };
  switch (config.method) {
    case Method::kStandard:
      if (predictions % length != 0) return error("needs whole rows");
      plan.count_ = predictions / length;
      break;
    case Method::kSlidingA:
    case Method::kSlidingD:
      if (plan.full_ == 0) return error("needs at least one full window");
      plan.count_ = plan.full_;
      break;
    case Method::kSlidingB: {
      const int64_t covered = plan.full_ == 0 ? 0 : (plan.full_ - 1) * stride + length;
      plan.count_ = plan.full_ + (covered < predictions ? 1 : 0);
      break;
    }
    case Method::kSlidingC:
      plan.count_ = (predictions + stride - 1) / stride;
      break;
  }
  // Windows up to the last full one all score the same count; only the first and the cut ones differ.
  for (int64_t i = 0; i < plan.count_;) {
    const Window w = plan.window(i);
    const bool alike = i > 0 && i + 1 < plan.full_;
    const int64_t run = alike ? plan.full_ - 1 - i : 1;
    plan.scored_ += run * w.scored_count;
    i += run;
  }
  return plan;
}

Window WindowPlan::window(int64_t index) const {
  const int64_t length = config_.seq_len, stride = config_.stride;
  FAIRWAY_CHECK(index >= 0 && index < count_);
  Window w;
  w.start = index * stride;
  w.length = std::min(length, predictions_ - w.start);
  switch (config_.method) {
    case Method::kStandard:
      w.start = index * length;
      w.length = length;
      w.scored_count = length;
      break;
    case Method::kSlidingA:
      w.first_scored = length - stride;
      w.scored_count = stride;
      break;
    case Method::kSlidingB:
      if (index >= full_) {  // the tail: ends at P, scores what no full window has
        const int64_t covered = full_ == 0 ? 0 : (full_ - 1) * stride + length;
        w.start = std::max<int64_t>(predictions_ - length, 0);
        w.length = predictions_ - w.start;
        w.first_scored = covered - w.start;
        w.scored_count = w.length - w.first_scored;
      } else {
        w.first_scored = index == 0 ? 0 : length - stride;
        w.scored_count = length - w.first_scored;
      }
      break;
    case Method::kSlidingC:
      w.first_scored = index == 0 ? 0 : std::max<int64_t>(w.length - stride, 0);
      w.scored_count = w.length - w.first_scored;
      break;
    case Method::kSlidingD:
      w.first_scored = index == 0 ? 0 : length - stride;
      w.scored_count = stride;
      break;
  }
  return w;
}

}  // namespace fairway::eval

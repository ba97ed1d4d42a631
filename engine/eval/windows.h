/// Which predictions an evaluation scores, in which window and in which order.
///
/// A window (start, length, first_scored) feeds inputs v[start .. start + length) and scores positions first_scored .. length - 1;
/// position i of the window is prediction start + i, whose target is v[start + i + 1]. P = predictions of the stream.
#pragma once

#include <cstdint>

#include "engine/base/result.h"
#include "engine/eval/config.h"

namespace fairway::eval {

struct Window {
  int64_t start = 0;
  int64_t length = 0;
  int64_t first_scored = 0;
  int64_t scored_count = 0;  ///< positions first_scored .. first_scored + scored_count - 1
  bool operator==(const Window&) const = default;
};

/// The windows of an evaluation over P predictions, by index; nothing is stored per window.
class WindowPlan {
 public:
  /// P >= 1. kStandard needs P to be a multiple of L; A and D need P >= L (Error kData otherwise).
  static Result<WindowPlan> create(const EvalConfig& config, int64_t predictions);
  int64_t count() const { return count_; }
  Window window(int64_t index) const;
  /// Predictions scored, repetitions counted.
  int64_t scored() const { return scored_; }

 private:
  EvalConfig config_;
  int64_t predictions_ = 0, count_ = 0, full_ = 0, scored_ = 0;
};

}  // namespace fairway::eval

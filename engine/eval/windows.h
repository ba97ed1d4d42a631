/// Which predictions an evaluation scores, in which window and in which order.
///
/// A window (start, length, first_scored) feeds inputs v[start .. start + length) and scores positions first_scored .. length - 1;
/// position i of the window is prediction start + i, whose target is v[start + i + 1]. P = predictions of the stream.
#pragma once

#include <cstdint>

#include "engine/base/result.h"

namespace fairway::eval {

enum class Method {
  kStandard,  ///< rows [i L, (i+1) L): every prediction once
  kSlidingA,  ///< starts 0, S, ... <= P - L; the last S of every window, also of the first (PR #65)
  kSlidingB,  ///< likewise, the first scored whole, and a tail window ending at P if S does not divide P - L: every prediction once
  kSlidingC,  ///< starts 0, S, ... < P, windows cut at P, the first scored whole, the last S of the others (PR #549)
  kSlidingD,  ///< starts 0, S, ... <= P - L; the first scores its first S, the others their last S (PR #635)
};

struct EvalConfig {
  Method method = Method::kStandard;
  int64_t seq_len = 1024;  ///< L
  int64_t stride = 1024;   ///< S <= L; L for kStandard
};

const char* method_name(Method method);

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

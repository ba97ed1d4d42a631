/// Elapsed time, for logs and for schedules that read a clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace fairway {

/// Runs from its construction on a clock that is never set back.
class Stopwatch {
 public:
  int64_t milliseconds() const {
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace fairway

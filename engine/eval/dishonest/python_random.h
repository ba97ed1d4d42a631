/// The shuffle of Python's random module: Mersenne Twister MT19937, seeded and drawn from as CPython 3 does (Matsumoto and Nishimura's
/// init_by_array). Only to replay what somebody's script did; nothing of Fairway's own is drawn from it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace fairway::eval {

class PythonRandom {
 public:
  /// random.seed(seed) for an integer from 0 to 2^64 - 1.
  explicit PythonRandom(uint64_t seed);
  /// getrandbits(bits), 1 <= bits <= 32.
  uint32_t bits(int bits);
  /// random.shuffle(list).
  template <class T>
  void shuffle(std::vector<T>& list) {
    for (size_t i = list.size(); i-- > 1;) std::swap(list[i], list[below(static_cast<uint32_t>(i + 1))]);
  }

 private:
  uint32_t below(uint32_t n);
  uint32_t next();
  uint32_t state_[624];
  int index_ = 624;
};

}  // namespace fairway::eval

#include "engine/eval/dishonest/python_random.h"

#include <bit>

namespace fairway::eval {

PythonRandom::PythonRandom(uint64_t seed) {
  constexpr int n = 624;
  const uint32_t key[2] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  const int length = key[1] != 0 ? 2 : 1;
  state_[0] = 19650218u;
  for (int i = 1; i < n; ++i) state_[i] = 1812433253u * (state_[i - 1] ^ (state_[i - 1] >> 30)) + static_cast<uint32_t>(i);
  int i = 1, j = 0;
  for (int k = n; k > 0; --k) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1664525u)) + key[j] + static_cast<uint32_t>(j);
    if (++i == n) state_[0] = state_[n - 1], i = 1;
    if (++j == length) j = 0;
  }
  for (int k = n - 1; k > 0; --k) {
    state_[i] = (state_[i] ^ ((state_[i - 1] ^ (state_[i - 1] >> 30)) * 1566083941u)) - static_cast<uint32_t>(i);
    if (++i == n) state_[0] = state_[n - 1], i = 1;
  }
  state_[0] = 0x80000000u;
}

uint32_t PythonRandom::next() {
  constexpr int n = 624, m = 397;
  if (index_ == n) {
    for (int k = 0; k < n; ++k) {
      const uint32_t y = (state_[k] & 0x80000000u) | (state_[(k + 1) % n] & 0x7fffffffu);
      state_[k] = state_[(k + m) % n] ^ (y >> 1) ^ ((y & 1u) != 0 ? 0x9908b0dfu : 0u);
    }
    index_ = 0;
  }
  uint32_t y = state_[index_++];
  y ^= y >> 11;
  y ^= (y << 7) & 0x9d2c5680u;
  y ^= (y << 15) & 0xefc60000u;
  return y ^ (y >> 18);
}

uint32_t PythonRandom::bits(int bits) { return next() >> (32 - bits); }

uint32_t PythonRandom::below(uint32_t n) {
  const int width = std::bit_width(n);
  uint32_t r = bits(width);
  while (r >= n) r = bits(width);
  return r;
}

}  // namespace fairway::eval

/// What the kernel tests share: random inputs, sweeps over instruction sets and threads, comparisons of bits, errors.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/parallel.h"

namespace fairway::test {

using Floats = std::vector<float>;

inline Floats gaussian(size_t count, uint64_t seed, float scale = 1.0f) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  Floats x(count);
  for (float& v : x) v = normal(engine);
  return x;
}

/// Student's t with three degrees of freedom: heavy tails.
inline Floats student_t3(size_t count, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::student_t_distribution<float> t(3.0f);
  Floats x(count);
  for (float& v : x) v = t(engine);
  return x;
}

/// Every bit pattern that is finite, uniformly.
inline float random_finite(std::mt19937_64& engine) {
  for (;;) {
    uint32_t u = static_cast<uint32_t>(engine());
    if ((u & 0x7f800000u) == 0x7f800000u) continue;
    float x;
    std::memcpy(&x, &u, sizeof x);
    return x;
  }
}

inline std::vector<kernels::Isa> available_sets() {
  std::vector<kernels::Isa> sets;
  for (kernels::Isa isa : {kernels::Isa::kPortable, kernels::Isa::kAvx2, kernels::Isa::kAvx512}) {
    if (kernels::isa_available(isa)) sets.push_back(isa);
  }
  return sets;
}

/// Puts instruction set and thread count back when a test ends.
class Machine {
 public:
  Machine() : isa_(kernels::active_isa()), threads_(kernels::thread_count()) {}
  ~Machine() {
    kernels::set_isa(isa_);
    kernels::set_thread_count(threads_);
  }
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

 private:
  kernels::Isa isa_;
  int threads_;
};

/// Calls body(description) under every available instruction set with one thread, and under the widest with 1..8
/// threads.
template <class Body>
void on_every_machine(const Body& body) {
  Machine restore;
  const auto sets = available_sets();
  for (kernels::Isa isa : sets) {
    kernels::set_isa(isa);
    kernels::set_thread_count(1);
    body(kernels::isa_name(isa) + ", 1 thread");
  }
  for (int threads = 2; threads <= 8; ++threads) {
    kernels::set_thread_count(threads);
    body(kernels::isa_name(sets.back()) + ", " + std::to_string(threads) + " threads");
  }
}

inline uint32_t bits(float x) {
  uint32_t u;
  std::memcpy(&u, &x, sizeof u);
  return u;
}

/// Equal bit for bit; the message names the first difference.
template <class T>
::testing::AssertionResult same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  if (a.size() != b.size()) return ::testing::AssertionFailure() << "sizes " << a.size() << " and " << b.size();
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(T)) != 0) {
      return ::testing::AssertionFailure() << "element " << i << " of " << a.size() << ": " << a[i] << " and " << b[i];
    }
  }
  return ::testing::AssertionSuccess();
}

/// Relative Frobenius error of x against a binary64 reference.
inline double relative_error(const Floats& x, const std::vector<double>& reference) {
  double difference = 0.0, norm = 0.0;
  for (size_t i = 0; i < x.size(); ++i) {
    double d = static_cast<double>(x[i]) - reference[i];
    difference += d * d;
    norm += reference[i] * reference[i];
  }
  return std::sqrt(difference / norm);
}

}  // namespace fairway::test

/// What the rungs of the ladder are made with: exact inputs, and hashing.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "engine/base/sha256.h"
#include "kernels/executor.h"
#include "kernels/num/philox.h"

namespace fairway::ladder {

using Floats = std::vector<float>;

/// A failure here is a broken test, not a moved bit.
inline void require(bool ok, const char* rung) {
  if (ok) return;
  std::fprintf(stderr, "fairway_ladder: %s failed\n", rung);
  std::exit(70);
}

/// A rung being hashed; printed when it goes out of scope.
class Rung {
 public:
  explicit Rung(std::string name) : name_(std::move(name)) {}
  ~Rung() { std::printf("%s %s\n", name_.c_str(), hex(hash_.finish()).c_str()); }
  Rung(const Rung&) = delete;
  Rung& operator=(const Rung&) = delete;
  template <class T>
  void add(const T* data, size_t count) {
    hash_.update(data, count * sizeof(T));
  }
  template <class T>
  void add(const std::vector<T>& v) {
    add(v.data(), v.size());
  }
  template <class T>
  void add_value(const T& v) {
    add(&v, 1);
  }

 private:
  std::string name_;
  Sha256 hash_;
};

/// Values in (-scale, scale), all multiples of scale * 2^-23: nothing but integer arithmetic and exact operations.
inline Floats uniform(size_t count, uint32_t stream, float scale = 1.0f) {
  Floats x(count);
  for (size_t i = 0; i < count; ++i) x[i] = (2.0f * num::uniform(20240520, stream, 0, i) - 1.0f) * scale;
  return x;
}

// The rungs of ladder.cc, ladder_models.cc and ladder_exports.cc, printed in the order of ci/digests.json.

void operations();
/// The models are computed by `executor`.
void models(kernels::Executor& executor);
/// The lowest of them: a layer's passes and one step.
void first_models(kernels::Executor& executor);
void exports();

}  // namespace fairway::ladder

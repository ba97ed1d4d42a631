#include "kernels/fake_quantise.h"

#include <atomic>

#include "kernels/cpu/parallel.h"
#include "kernels/ops/fake_quantise.h"

namespace fairway::kernels {

bool fake_quantise_rows(const float* w, int64_t rows, int64_t columns, float limit, float* out) {
  std::atomic<bool> finite{true};
  parallel_for(rows, [&](int64_t r) {
    const float* row = w + r * columns;
    uint32_t largest = 0;
    for (int64_t c = 0; c < columns; ++c)
      largest = num::magnitude_bits(row[c]) > largest ? num::magnitude_bits(row[c]) : largest;
    if (largest >= num::kInfinityBits) {
      finite = false;
      return;
    }
    const float s = ops::fake_step(num::float_of(largest), limit);
    for (int64_t c = 0; c < columns; ++c) out[r * columns + c] = ops::fake_quantised(row[c], s);
  });
  return finite;
}

}  // namespace fairway::kernels

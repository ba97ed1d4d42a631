#include "kernels/fake_quantise.h"

#include <atomic>

#include "kernels/cpu/parallel.h"
#include "kernels/quantile.h"

namespace fairway::kernels {

bool fake_quantise_rows(const float* w, int64_t rows, int64_t columns, ops::FakeForm form, float* out) {
  std::atomic<bool> finite{true};
  parallel_for(rows, [&](int64_t r) {
    float* row = out + r * columns;
    uint32_t largest = 0;
    for (int64_t c = 0; c < columns; ++c) {
      row[c] = ops::fake_input(form, w[r * columns + c]);
      largest = num::magnitude_bits(row[c]) > largest ? num::magnitude_bits(row[c]) : largest;
    }
    if (largest >= num::kInfinityBits) {
      finite = false;
      return;
    }
    const float reach = ops::clips_at_quantile(form)
                            ? absolute_quantile({row, static_cast<size_t>(columns)}, ops::kExportQuantile)
                            : num::float_of(largest);
    const ops::FakeScale scale = ops::fake_scale(form, reach);
    for (int64_t c = 0; c < columns; ++c) row[c] = ops::fake_quantised(row[c], scale);
  });
  return finite;
}

}  // namespace fairway::kernels

#include "kernels/unit_vectors.h"

#include <atomic>

#include "kernels/buffer.h"
#include "kernels/check.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/wide_form.h"
#include "kernels/ops/exclusive_attention.h"
#include "kernels/ops/rms_norm.h"

namespace fairway::kernels {
namespace {

constexpr int64_t kRows = 16;

}  // namespace

bool unit_rows(const float* x, int64_t rows, int64_t n, float* y, float* norm) {
  FAIRWAY_CHECK(n > 0 && n <= ops::kMaxNormWidth);
  std::atomic<bool> ok{true};
  parallel_ranges(rows, kRows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float square = 0.0f;
      if (!table().row_dot(x + r * n, x + r * n, n, &square, 0, 1)) ok = false;
      const float length = ops::value_norm(square);
      if (norm != nullptr) norm[r] = length;
      for (int64_t c = 0; c < n; ++c) y[r * n + c] = ops::unit_value(x[r * n + c], length);
    }
  });
  return ok;
}

bool unit_rows_backward(const float* dy, const float* y, const float* norm, int64_t rows, int64_t n, float* dx) {
  FAIRWAY_CHECK(n > 0 && n <= ops::kMaxNormWidth);
  std::atomic<bool> ok{true};
  parallel_ranges(rows, kRows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float along = 0.0f;
      if (!table().row_dot(dy + r * n, y + r * n, n, &along, 0, 1)) ok = false;
      for (int64_t c = 0; c < n; ++c) dx[r * n + c] = ops::value_gradient(dy[r * n + c], along, y[r * n + c], norm[r]);
    }
  });
  return ok;
}

bool unit_columns(float* x, int64_t rows, int64_t n) {
  Buffer<float> turned(static_cast<size_t>(rows * n));
  transpose(x, rows, n, turned.data());
  if (!unit_rows(turned.data(), n, rows, turned.data(), nullptr)) return false;
  transpose(turned.data(), n, rows, x);
  return true;
}

}  // namespace fairway::kernels

#include "kernels/rows.h"

#include <atomic>
#include <vector>

#include "kernels/check.h"
#include "kernels/cpu/dispatch.h"
#include "kernels/cpu/parallel.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/sum_of_squares.h"

namespace fairway::kernels {
namespace {

/// Runs body(begin, end) on row ranges of about 16 Ki elements; true if every call returned true.
template <class Body>
bool all_rows(int64_t rows, int64_t n, const Body& body) {
  const int64_t grain = n >= 16384 ? 1 : 16384 / n;
  std::atomic<bool> ok{true};
  parallel_ranges(rows, grain, [&](int64_t begin, int64_t end) {
    if (!body(begin, end)) ok = false;
  });
  return ok;
}

constexpr int64_t kNormRow = ops::kSquareRow;

}  // namespace

bool rms_norm(const float* x, int64_t rows, int64_t n, float* y, float* r) {
  FAIRWAY_CHECK(n > 0 && n <= ops::kMaxNormWidth);
  return all_rows(rows, n, [&](int64_t begin, int64_t end) { return table().rms_norm(x, n, y, r, begin, end); });
}

bool rms_norm_backward(const float* dy, const float* y, const float* r, int64_t rows, int64_t n, float* dx) {
  FAIRWAY_CHECK(n > 0 && n <= ops::kMaxNormWidth);
  return all_rows(rows, n,
                  [&](int64_t begin, int64_t end) { return table().rms_norm_backward(dy, y, r, n, dx, begin, end); });
}

bool row_dot(const float* a, const float* b, int64_t rows, int64_t n, float* out) {
  FAIRWAY_CHECK(n > 0 && n <= ops::kMaxNormWidth);
  return all_rows(rows, n, [&](int64_t begin, int64_t end) { return table().row_dot(a, b, n, out, begin, end); });
}

bool cross_entropy(float* logits, int64_t rows, int64_t vocab, float cap, const uint16_t* targets, float* nll, bool gradient) {
  FAIRWAY_CHECK(vocab > 0 && vocab <= (1 << 20));
  CrossEntropyRows c{logits, vocab, cap, targets, nll, gradient};
  return all_rows(rows, vocab, [&](int64_t begin, int64_t end) { return table().cross_entropy(c, begin, end); });
}

struct SumOfSquares::Rows {
  std::vector<double> values;
};
SumOfSquares::SumOfSquares() : rows_(new Rows) {}
SumOfSquares::~SumOfSquares() { delete rows_; }

bool SumOfSquares::add(std::span<const float> tensor) {
  const int64_t count = static_cast<int64_t>(tensor.size());
  const int64_t rows = (count + kNormRow - 1) / kNormRow;
  const size_t first = rows_->values.size();
  rows_->values.resize(first + static_cast<size_t>(rows));
  return all_rows(rows, kNormRow, [&](int64_t begin, int64_t end) {
    bool ok = true;
    for (int64_t r = begin; r < end; ++r) {
      const int64_t n = count - r * kNormRow < kNormRow ? count - r * kNormRow : kNormRow;
      ok = table().sum_of_squares(tensor.data() + r * kNormRow, n, &rows_->values[first + static_cast<size_t>(r)]) && ok;
    }
    return ok;
  });
}

double SumOfSquares::total() const {
  double max = 0.0;
  for (double v : rows_->values) max = v > max ? v : max;
  if (max == 0.0) return 0.0;
  const int32_t exponent = ops::square_exponent(max);
  int64_t sum = 0;
  for (double v : rows_->values) sum += ops::square_units(v, exponent);
  return ops::square_total(sum, exponent);
}

}  // namespace fairway::kernels

/// Row-wise operations with integer sums: rms_norm, dot products, norms, softcapped cross entropy.
#pragma once

#include <cstdint>
#include <span>

namespace fairway::kernels {

/// y = x / sqrt(mean(x^2) + 2^-23) per row of n <= 16,384 values; r[row] = the factor. y may be x. False if not finite.
[[nodiscard]] bool rms_norm(const float* x, int64_t rows, int64_t n, float* y, float* r);

/// dx = r * (dy - y * mean(dy * y)). dx may be dy. False if dy or y is not finite.
[[nodiscard]] bool rms_norm_backward(const float* dy, const float* y, const float* r, int64_t rows, int64_t n, float* dx);

/// out[row] = sum of a * b over the row, 24-bit integer sum, one rounding. False if not finite.
[[nodiscard]] bool row_dot(const float* a, const float* b, int64_t rows, int64_t n, float* out);

/// Loss of each row of logits (rows, vocab), V <= 2^20, with z = cap * tanh(u / cap) (cap 0: none); nll in nats, < 2^10.
/// With `gradient`, the logits are replaced by d(sum of nll) / d(logits before the cap). False if a logit is not finite or an
/// nll reaches 2^10.
[[nodiscard]] bool cross_entropy(float* logits, int64_t rows, int64_t vocab, float cap, const uint16_t* targets, float* nll,
                                 bool gradient);

/// A sum of squares in the making: rows of 4,096 values (the last of a tensor may be shorter) as binary64, collected from
/// any number of tensors, then summed on a grid of 2^-40 of the largest. Relative error 1e-9 for a million values,
/// 5e-9 for a single row.
class SumOfSquares {
 public:
  SumOfSquares();
  ~SumOfSquares();
  SumOfSquares(const SumOfSquares&) = delete;
  SumOfSquares& operator=(const SumOfSquares&) = delete;
  /// False if a value is not finite.
  [[nodiscard]] bool add(std::span<const float> tensor);
  double total() const;

 private:
  struct Rows;
  Rows* rows_;
};

}  // namespace fairway::kernels

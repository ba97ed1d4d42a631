/// The Newton-Schulz iteration in binary64, from its formulas.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace fairway::test {

/// C (m, n) = A (m, k) * B (k, n).
inline std::vector<double> product(const std::vector<double>& a, const std::vector<double>& b, size_t m, size_t k, size_t n) {
  std::vector<double> c(m * n);
  for (size_t i = 0; i < m; ++i) {
    for (size_t j = 0; j < k; ++j) {
      const double f = a[i * k + j];
      for (size_t l = 0; l < n; ++l) c[i * n + l] += f * b[j * n + l];
    }
  }
  return c;
}

inline std::vector<double> transposed(const std::vector<double>& a, size_t m, size_t n) {
  std::vector<double> t(m * n);
  for (size_t i = 0; i < m; ++i) {
    for (size_t j = 0; j < n; ++j) t[j * m + i] = a[i * n + j];
  }
  return t;
}

inline std::vector<double> newton_schulz64(std::vector<double> x, size_t rows, size_t columns, int steps) {
  if (rows > columns) return transposed(newton_schulz64(transposed(x, rows, columns), columns, rows, steps), columns, rows);
  double sum = 0;
  for (double v : x) sum += v * v;
  for (double& v : x) v /= std::sqrt(sum) + 1e-7;
  for (int s = 0; s < steps; ++s) {
    const auto gram = product(x, transposed(x, rows, columns), rows, columns, rows);
    auto p = product(gram, gram, rows, rows, rows);
    for (size_t i = 0; i < p.size(); ++i) p[i] = -4.7750 * gram[i] + 2.0315 * p[i];
    const auto px = product(p, x, rows, rows, columns);
    for (size_t i = 0; i < x.size(); ++i) x[i] = 3.4445 * x[i] + px[i];
  }
  return x;
}

}  // namespace fairway::test

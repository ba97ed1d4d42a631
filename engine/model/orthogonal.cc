#include "engine/model/orthogonal.h"

#include <cstddef>
#include <vector>

#include "kernels/num/float_bits.h"
#include "kernels/num/philox.h"

namespace fairway::model {
namespace {

/// Modified Gram-Schmidt on a (m, n), m >= n, row-major, columns from left to right. Every sum runs over the rows in ascending order; the
/// loops over columns are independent, so they may be vectorised.
void orthonormalise_columns(double* a, int64_t m, int64_t n) {
  std::vector<double> dots(static_cast<size_t>(n));
  for (int64_t j = 0; j < n; ++j) {
    double square = 0.0;
    for (int64_t k = 0; k < m; ++k) square = square + a[k * n + j] * a[k * n + j];
    const double norm = num::sqrt(square);
    for (int64_t k = 0; k < m; ++k) a[k * n + j] = a[k * n + j] / norm;
    for (int64_t c = j + 1; c < n; ++c) dots[static_cast<size_t>(c)] = 0.0;
    for (int64_t k = 0; k < m; ++k) {
      const double q = a[k * n + j];
      const double* row = a + k * n;
      for (int64_t c = j + 1; c < n; ++c) dots[static_cast<size_t>(c)] = dots[static_cast<size_t>(c)] + q * row[c];
    }
    for (int64_t k = 0; k < m; ++k) {
      const double q = a[k * n + j];
      double* row = a + k * n;
      for (int64_t c = j + 1; c < n; ++c) row[c] = row[c] - q * dots[static_cast<size_t>(c)];
    }
  }
}

}  // namespace

void draw_orthogonal(uint64_t seed, uint32_t word, int64_t rows, int64_t columns, float* values) {
  const bool tall = rows >= columns;
  const int64_t m = tall ? rows : columns, n = tall ? columns : rows;
  std::vector<double> a(static_cast<size_t>(m * n));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) {
      const double x = static_cast<double>(num::normal(seed, word, num::kPurposeInit, static_cast<uint64_t>(r * columns + c)));
      a[static_cast<size_t>(tall ? r * n + c : c * n + r)] = x;
    }
  }
  orthonormalise_columns(a.data(), m, n);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < columns; ++c) values[r * columns + c] = static_cast<float>(a[static_cast<size_t>(tall ? r * n + c : c * n + r)]);
  }
}

}  // namespace fairway::model

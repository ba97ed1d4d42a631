#include "engine/quant/low_rank.h"

#include <algorithm>
#include <numeric>

#include "engine/base/check.h"
#include "kernels/cpu/parallel.h"
#include "kernels/num/float_bits.h"

namespace fairway::quant {
namespace {

constexpr int kMaxSweeps = 60;
// Off-diagonal entries this far below the largest diagonal entry are left alone: binary64 has nothing to gain there.
constexpr double kNegligible = 0x1p-56;

double magnitude(double x) { return x < 0.0 ? -x : x; }

// The rotation that makes entry (p, q) zero: the smaller root of t^2 + 2 theta t - 1 = 0.
struct Rotation {
  double cosine;
  double sine;
};
Rotation rotation_of(double app, double apq, double aqq) {
  const double theta = (aqq - app) / (2.0 * apq);
  const double root = num::sqrt(theta * theta + 1.0);
  const double t = theta >= 0.0 ? 1.0 / (theta + root) : -1.0 / (root - theta);
  const double c = 1.0 / num::sqrt(t * t + 1.0);
  return {c, t * c};
}

// (x, y) <- (c x - s y, s x + c y), elementwise.
void rotate(double* x, double* y, int64_t n, Rotation r) {
  for (int64_t i = 0; i < n; ++i) {
    const double a = x[i];
    const double b = y[i];
    x[i] = r.cosine * a - r.sine * b;
    y[i] = r.sine * a + r.cosine * b;
  }
}

}  // namespace

Eigen symmetric_eigen(std::vector<double> a, int64_t n) {
  FAIRWAY_CHECK(n >= 1 && a.size() == static_cast<size_t>(n) * static_cast<size_t>(n));
  std::vector<double> v(a.size());
  for (int64_t i = 0; i < n; ++i) v[static_cast<size_t>(i * n + i)] = 1.0;
  auto at = [&](int64_t r, int64_t c) -> double& { return a[static_cast<size_t>(r * n + c)]; };
  bool rotated = true;
  for (int sweep = 0; rotated && sweep < kMaxSweeps; ++sweep) {
    rotated = false;
    double largest = 0.0;
    for (int64_t i = 0; i < n; ++i) largest = std::max(largest, magnitude(at(i, i)));
    for (int64_t p = 0; p < n; ++p) {
      for (int64_t q = p + 1; q < n; ++q) {
        if (magnitude(at(p, q)) <= kNegligible * largest) continue;
        rotated = true;
        const Rotation r = rotation_of(at(p, p), at(p, q), at(q, q));
        rotate(&at(p, 0), &at(q, 0), n, r);
        for (int64_t i = 0; i < n; ++i) {
          const double x = at(i, p);
          const double y = at(i, q);
          at(i, p) = r.cosine * x - r.sine * y;
          at(i, q) = r.sine * x + r.cosine * y;
        }
        at(p, q) = 0.0;
        at(q, p) = 0.0;
        rotate(v.data() + p * n, v.data() + q * n, n, r);
      }
    }
  }
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t x, int64_t y) { return at(x, x) > at(y, y); });
  Eigen result;
  for (int64_t k : order) {
    result.values.push_back(at(k, k));
    result.vectors.insert(result.vectors.end(), v.begin() + k * n, v.begin() + (k + 1) * n);
  }
  return result;
}

LowRank factorise(std::span<const float> values, int64_t rows, int64_t columns, int64_t rank) {
  FAIRWAY_CHECK(values.size() == static_cast<size_t>(rows) * static_cast<size_t>(columns));
  FAIRWAY_CHECK(rank >= 1 && rank <= std::min(rows, columns));
  std::vector<double> gram(static_cast<size_t>(columns) * static_cast<size_t>(columns));
  kernels::parallel_for(columns, [&](int64_t i) {
    double* out = gram.data() + i * columns;
    for (int64_t r = 0; r < rows; ++r) {
      const float* row = values.data() + r * columns;
      const double x = static_cast<double>(row[i]);
      for (int64_t j = 0; j < columns; ++j) out[j] += x * static_cast<double>(row[j]);
    }
  });
  const Eigen eigen = symmetric_eigen(std::move(gram), columns);
  LowRank result;
  result.left.resize(static_cast<size_t>(rows * rank));
  kernels::parallel_for(rows, [&](int64_t r) {
    const float* row = values.data() + r * columns;
    for (int64_t k = 0; k < rank; ++k) {
      const double* vector = eigen.vectors.data() + k * columns;
      double sum = 0.0;
      for (int64_t j = 0; j < columns; ++j) sum += static_cast<double>(row[j]) * vector[j];
      result.left[static_cast<size_t>(r * rank + k)] = static_cast<float>(sum);
    }
  });
  for (int64_t i = 0; i < rank * columns; ++i) {
    result.right.push_back(static_cast<float>(eigen.vectors[static_cast<size_t>(i)]));
  }
  return result;
}

std::vector<float> multiply_factors(std::span<const float> left, std::span<const float> right, int64_t rank) {
  const int64_t rows = static_cast<int64_t>(left.size()) / rank;
  const int64_t columns = static_cast<int64_t>(right.size()) / rank;
  std::vector<float> product(static_cast<size_t>(rows * columns));
  kernels::parallel_for(rows, [&](int64_t r) {
    std::vector<double> sums(static_cast<size_t>(columns));
    for (int64_t k = 0; k < rank; ++k) {
      const double x = static_cast<double>(left[static_cast<size_t>(r * rank + k)]);
      const float* row = right.data() + k * columns;
      for (int64_t j = 0; j < columns; ++j) sums[static_cast<size_t>(j)] += x * static_cast<double>(row[j]);
    }
    std::transform(sums.begin(), sums.end(), product.begin() + r * columns,
                   [](double x) { return static_cast<float>(x); });
  });
  return product;
}

}  // namespace fairway::quant

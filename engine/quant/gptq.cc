#include "engine/quant/gptq.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/base/check.h"
#include "kernels/cpu/parallel.h"

namespace fairway::quant {
namespace {

// rint(w / s) within +-limit; w is binary64 here.
int32_t quantise64(double w, double s, int32_t limit) {
  const double bound = static_cast<double>(limit);
  double ratio = w / s;
  ratio = ratio < -bound ? -bound : (ratio > bound ? bound : ratio);
  return static_cast<int32_t>(num::round_to_int64(ratio));
}

// The damped Hessian in the order of `order`.
std::vector<double> permuted(const std::vector<double>& h, const std::vector<int64_t>& order) {
  const int64_t n = static_cast<int64_t>(order.size());
  std::vector<double> out(h.size());
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      out[static_cast<size_t>(i * n + j)] =
          h[static_cast<size_t>(order[static_cast<size_t>(i)] * n + order[static_cast<size_t>(j)])];
    }
  }
  return out;
}

}  // namespace

Result<std::vector<double>> inverse_factor(const std::string& name, std::vector<double> a, int64_t n) {
  FAIRWAY_CHECK(n >= 1 && a.size() == static_cast<size_t>(n) * static_cast<size_t>(n));
  // H = R R^T, R upper triangular: column j of R, kept as row j of `a` (its first j + 1 entries), from the last column.
  for (int64_t j = n - 1; j >= 0; --j) {
    double* column = a.data() + j * n;
    if (!(column[j] > 0.0) || !(column[j] < 0x1p1000)) {
      return Error{Errc::kData, name, fmt::format("the calibration's second moments are not positive definite at {}", j)};
    }
    const double root = num::sqrt(column[j]);
    for (int64_t i = 0; i < j; ++i) column[i] = column[i] / root;
    column[j] = root;
    kernels::parallel_ranges(j, 64, [&](int64_t begin, int64_t end) {
      for (int64_t k = begin; k < end; ++k) {
        double* row = a.data() + k * n;
        const double factor = column[k];
        for (int64_t i = 0; i <= k; ++i) row[i] = row[i] - column[i] * factor;
      }
    });
  }
  // U = R^-1 by rows from the last: U_i = (e_i - sum over k > i of R_ik U_k) / R_ii, k ascending.
  std::vector<double> u(a.size());
  for (int64_t i = n - 1; i >= 0; --i) {
    double* row = u.data() + i * n;
    row[i] = 1.0;
    for (int64_t k = i + 1; k < n; ++k) {
      const double factor = a[static_cast<size_t>(k * n + i)];
      const double* later = u.data() + k * n;
      for (int64_t j = k; j < n; ++j) row[j] = row[j] - factor * later[j];
    }
    const double root = a[static_cast<size_t>(i * n + i)];
    for (int64_t j = i; j < n; ++j) row[j] = row[j] / root;
  }
  return u;
}

Result<QuantisedMatrix> quantise_gptq(const std::string& name, std::span<const float> values, int64_t rows,
                                      int64_t columns, int32_t limit, const RowMethod& method, const Hessian& hessian,
                                      double damping) {
  FAIRWAY_CHECK(rows >= 1 && columns >= 1 && values.size() == static_cast<size_t>(rows) * static_cast<size_t>(columns));
  FAIRWAY_CHECK(hessian.n == columns && method.rounded_scale);
  FAIRWAY_CHECK(method.one_for_all_rows || method.deviations > 0.0f || method.candidates.size() == 1);
  if (int64_t bad = first_non_finite(values); bad >= 0) return non_finite(name, values, bad);
  const size_t n = static_cast<size_t>(columns);
  std::vector<double> h = hessian.values;
  std::vector<bool> dead(n);
  double diagonal = 0.0;
  for (size_t j = 0; j < n; ++j) {
    double& d = h[j * n + j];
    dead[j] = d == 0.0;
    if (dead[j]) d = 1.0;
    diagonal = diagonal + d;
  }
  const double added = damping * (diagonal / static_cast<double>(columns));
  for (size_t j = 0; j < n; ++j) h[j * n + j] = h[j * n + j] + added;
  std::vector<int64_t> order(n);
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return h[static_cast<size_t>(a * columns + a)] > h[static_cast<size_t>(b * columns + b)];
  });
  FAIRWAY_ASSIGN(std::vector<double> u, inverse_factor(name, permuted(h, order), columns));

  std::vector<float> target(values.begin(), values.end());  // what compensation starts from, in the tensor's own order
  for (int64_t r = 0; r < rows; ++r) {
    for (size_t j = 0; j < n; ++j) {
      if (dead[j]) target[static_cast<size_t>(r) * n + j] = 0.0f;
    }
  }
  QuantisedMatrix best;
  double least = 0.0;
  const size_t candidates = method.deviations > 0.0f ? 1 : method.candidates.size();
  for (size_t c = 0; c < candidates; ++c) {
    FAIRWAY_ASSIGN(auto scales, row_scales(name, values, rows, columns, limit, method, c));
    QuantisedMatrix one{rows, columns, limit, std::vector<int8_t>(values.size()), {}};
    std::vector<float> divisors;
    for (const RowScale& scale : scales) {
      one.scale_bits.push_back(scale.bits);
      divisors.push_back(scale.divisor);
    }
    kernels::parallel_for(rows, [&](int64_t r) {
      std::vector<double> w(n);
      const size_t row = static_cast<size_t>(r) * n;
      for (size_t j = 0; j < n; ++j) w[j] = static_cast<double>(target[row + static_cast<size_t>(order[j])]);
      const double s = static_cast<double>(divisors[static_cast<size_t>(r)]);
      for (size_t j = 0; j < n; ++j) {
        const int32_t q = quantise64(w[j], s, limit);
        one.integers[row + static_cast<size_t>(order[j])] = static_cast<int8_t>(q);
        const double* factor = u.data() + j * n;
        const double g = (w[j] - static_cast<double>(q) * s) / factor[j];
        for (size_t k = j + 1; k < n; ++k) w[k] = w[k] - g * factor[k];
      }
    });
    const double error = squared_error(target, one.integers, divisors);
    if (c == 0 || error < least) {
      least = error;
      best = std::move(one);
    }
  }
  return best;
}

}  // namespace fairway::quant

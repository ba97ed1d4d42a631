#include "engine/quant/gptq.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/cpu/parallel.h"
#include "tests/engine/quant/state_dicts.h"

namespace fairway::quant {
namespace {

using Matrix = std::vector<std::vector<long double>>;

// Second moments of correlated inputs, so that compensation has something to gain.
Hessian moments(uint64_t seed, int64_t n) {
  const int64_t samples = 4 * n;
  const auto x = random_tensor({"x", {samples, n}, FloatFormat::kF32}, seed, 1.0f).values;
  Hessian h{n, std::vector<double>(static_cast<size_t>(n * n))};
  for (int64_t s = 0; s < samples; ++s) {
    std::vector<double> row(static_cast<size_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      row[static_cast<size_t>(i)] = x[static_cast<size_t>(s * n + i)] + 1.5 * x[static_cast<size_t>(s * n + i / 4)];
    }
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) h.values[static_cast<size_t>(i * n + j)] += row[static_cast<size_t>(i)] * row[static_cast<size_t>(j)];
    }
  }
  return h;
}

std::vector<float> weights(uint64_t seed, int64_t rows, int64_t columns) {
  return random_tensor({"w", {rows, columns}, FloatFormat::kF32}, seed, 0.6f).values;
}

RowMethod rounded(std::vector<float> candidates) {
  RowMethod method;
  method.candidates = std::move(candidates);
  method.one_for_all_rows = true;
  method.rounded_scale = true;
  return method;
}

double proxy_loss(const std::vector<float>& w, const QuantisedMatrix& q, const Hessian& h) {
  const size_t n = static_cast<size_t>(h.n);
  double loss = 0;
  for (size_t r = 0; r < w.size() / n; ++r) {
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < n; ++j) {
        const double di = w[r * n + i] - dequantise_element(q.integers[r * n + i], q.scale_bits[r]);
        const double dj = w[r * n + j] - dequantise_element(q.integers[r * n + j], q.scale_bits[r]);
        loss += di * h.values[i * n + j] * dj;
      }
    }
  }
  return loss;
}

// The published recipe in long double: inverse by elimination, its upper Cholesky factor, columns one by one.
QuantisedMatrix by_the_book(const std::vector<float>& w, int64_t rows, const Hessian& hessian, int limit, float p) {
  const size_t n = static_cast<size_t>(hessian.n);
  std::vector<long double> h(hessian.values.begin(), hessian.values.end());
  std::vector<bool> dead(n);
  long double mean = 0;
  for (size_t j = 0; j < n; ++j) {
    if (h[j * n + j] == 0) dead[j] = true, h[j * n + j] = 1;
    mean += h[j * n + j] / static_cast<long double>(n);
  }
  for (size_t j = 0; j < n; ++j) h[j * n + j] += 0.01L * mean;
  std::vector<size_t> order(n);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return h[a * n + a] > h[b * n + b]; });
  Matrix a(n, std::vector<long double>(2 * n));
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) a[i][j] = h[order[i] * n + order[j]];
    a[i][n + i] = 1;
  }
  for (size_t c = 0; c < n; ++c) {  // Gauss-Jordan
    const long double pivot = a[c][c];
    for (long double& x : a[c]) x /= pivot;
    for (size_t i = 0; i < n; ++i) {
      if (i == c) continue;
      const long double f = a[i][c];
      for (size_t j = 0; j < 2 * n; ++j) a[i][j] -= f * a[c][j];
    }
  }
  Matrix u(n, std::vector<long double>(n));  // inverse = U^T U
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = i; j < n; ++j) {
      long double sum = a[i][n + j];
      for (size_t k = 0; k < i; ++k) sum -= u[k][i] * u[k][j];
      u[i][j] = i == j ? sqrtl(sum) : sum / u[i][i];
    }
  }
  QuantisedMatrix out{rows, hessian.n, limit, std::vector<int8_t>(w.size()), {}};
  for (size_t r = 0; r < static_cast<size_t>(rows); ++r) {
    const float clip = absolute_quantile(std::span(w).subspan(r * n, n), p);
    out.scale_bits.push_back(num::to_fp16_bits(row_scale(clip, limit, true)));
    const long double s = num::from_fp16_bits(out.scale_bits[r]);
    std::vector<long double> row(n);
    for (size_t j = 0; j < n; ++j) row[j] = dead[order[j]] ? 0 : w[r * n + order[j]];
    for (size_t j = 0; j < n; ++j) {
      const long double q = std::clamp(nearbyintl(row[j] / s), -static_cast<long double>(limit), static_cast<long double>(limit));
      out.integers[r * n + order[j]] = static_cast<int8_t>(q);
      const long double g = (row[j] - q * s) / u[j][j];
      for (size_t k = j + 1; k < n; ++k) row[k] -= g * u[j][k];
    }
  }
  return out;
}

TEST(InverseFactor, UTransposedTimesUIsTheInverse) {
  for (int64_t n : {1, 2, 7, 48}) {
    const Hessian h = moments(3, n);
    auto u = inverse_factor("w", h.values, n);
    ASSERT_TRUE(u);
    const size_t m = static_cast<size_t>(n);
    for (size_t i = 0; i < m; ++i) {
      for (size_t j = 0; j < m; ++j) {
        if (j < i) EXPECT_EQ((*u)[i * m + j], 0.0);
        long double product = 0;  // (H U^T U)_ij
        for (size_t k = 0; k < m; ++k) {
          long double inverse = 0;
          for (size_t l = 0; l < m; ++l) inverse += static_cast<long double>((*u)[l * m + k]) * (*u)[l * m + j];
          product += h.values[i * m + k] * inverse;
        }
        EXPECT_NEAR(static_cast<double>(product), i == j ? 1.0 : 0.0, 1e-9);
      }
    }
  }
}

TEST(InverseFactor, AMatrixThatIsNotPositiveIsRefusedByName) {
  auto u = inverse_factor("blocks.0.mlp.fc.weight", {1, 2, 2, 1}, 2);
  ASSERT_FALSE(u);
  EXPECT_EQ(u.error().where, "blocks.0.mlp.fc.weight");
  EXPECT_FALSE(inverse_factor("w", {std::nan("")}, 1));
}

TEST(Gptq, IsThePublishedRecipe) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    const int64_t rows = 5, n = 24;
    Hessian h = moments(seed, n);
    if (seed % 2 == 1) {  // a dead input
      for (int64_t i = 0; i < n; ++i) h.values[static_cast<size_t>(i * n + 7)] = h.values[static_cast<size_t>(7 * n + i)] = 0.0;
    }
    const auto w = weights(seed, rows, n);
    const auto found = quantise_gptq("w", w, rows, n, 31, rounded({0.9999f}), h, 0.01);
    ASSERT_TRUE(found);
    const QuantisedMatrix expected = by_the_book(w, rows, h, 31, 0.9999f);
    EXPECT_EQ(found->scale_bits, expected.scale_bits);
    EXPECT_EQ(found->integers, expected.integers) << "seed " << seed;
  }
}

TEST(Gptq, LowersTheErrorOfTheOutputs) {
  const int64_t rows = 16, n = 64;
  const Hessian h = moments(8, n);
  const auto w = weights(8, rows, n);
  const auto compensated = quantise_gptq("w", w, rows, n, 15, rounded({1.0f}), h, 0.01);
  const auto rounding = quantise_rows("w", w, rows, n, 15, rounded({1.0f}));
  ASSERT_TRUE(compensated && rounding);
  EXPECT_LT(proxy_loss(w, *compensated, h), 0.6 * proxy_loss(w, *rounding, h));
}

TEST(Gptq, WithIndependentInputsItIsPlainRounding) {
  const int64_t rows = 4, n = 32;
  Hessian identity{n, std::vector<double>(static_cast<size_t>(n * n))};
  for (int64_t i = 0; i < n; ++i) identity.values[static_cast<size_t>(i * n + i)] = 2.0;
  const auto w = weights(1, rows, n);
  const auto method = rounded({0.999f, 0.9995f, 0.9999f, 0.99999f, 1.0f});
  const auto found = quantise_gptq("w", w, rows, n, 31, method, identity, 0.01);
  const auto plain = quantise_rows("w", w, rows, n, 31, method);
  ASSERT_TRUE(found && plain);
  EXPECT_EQ(found->integers, plain->integers);
  EXPECT_EQ(found->scale_bits, plain->scale_bits);
}

TEST(Gptq, ThreadsChangeNoBit) {
  const int64_t rows = 9, n = 80;
  const Hessian h = moments(2, n);
  const auto w = weights(2, rows, n);
  const int before = kernels::thread_count();
  kernels::set_thread_count(1);
  const auto one = quantise_gptq("w", w, rows, n, 31, rounded({0.999f, 1.0f}), h, 0.01);
  kernels::set_thread_count(6);
  const auto six = quantise_gptq("w", w, rows, n, 31, rounded({0.999f, 1.0f}), h, 0.01);
  kernels::set_thread_count(before);
  ASSERT_TRUE(one && six);
  EXPECT_EQ(one->integers, six->integers);
  EXPECT_EQ(one->scale_bits, six->scale_bits);
}

}  // namespace
}  // namespace fairway::quant

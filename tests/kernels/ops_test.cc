// Norms, loss, rotary embedding, gradient accumulators and element-wise operations: errors against binary64, order
// independence, limits, and equal bits on every instruction set and thread count.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "definitions.h"
#include "kernels/accumulate.h"
#include "kernels/elementwise.h"
#include "kernels/num/half.h"
#include "kernels/num/trig.h"
#include "kernels/rows.h"
#include "support.h"

namespace fairway::kernels {
namespace {

using test::Floats;

const float kInfinity = std::numeric_limits<float>::infinity();
const float kNaN = std::numeric_limits<float>::quiet_NaN();
const float kNotFinite[] = {kNaN, kInfinity, -kInfinity};

size_t sz(int64_t n) { return static_cast<size_t>(n); }

// --- Norms ----------------------------------------------------------------------------------------------------------

struct Norm {
  Floats y, r;
};

Norm norm(const Floats& x, int64_t rows, int64_t n) {
  Norm out{Floats(x.size()), Floats(sz(rows))};
  EXPECT_TRUE(rms_norm(x.data(), rows, n, out.y.data(), out.r.data()));
  return out;
}

TEST(RmsNorm, ElementsAreWithinTheStatedErrorOfBinary64) {
  double worst = 0.0;
  for (int64_t n : {1, 7, 64, 512, 2048, 16384}) {
    for (float scale : {1e-3f, 1.0f, 1e4f}) {
      const int64_t rows = 20;
      Floats x = test::student_t3(sz(rows * n), sz(n));
      for (float& v : x) v *= scale;
      const Norm got = norm(x, rows, n);
      for (int64_t r = 0; r < rows; ++r) {
        double sum = 0.0;
        for (int64_t c = 0; c < n; ++c) sum += static_cast<double>(x[sz(r * n + c)]) * x[sz(r * n + c)];
        const double factor = 1.0 / std::sqrt(sum / static_cast<double>(n) + 0x1p-23);
        for (int64_t c = 0; c < n; ++c) {
          const double exact = x[sz(r * n + c)] * factor;
          if (exact != 0.0) worst = std::max(worst, std::fabs(got.y[sz(r * n + c)] / exact - 1.0));
        }
      }
    }
  }
  std::printf("  rms_norm: %.2e per element\n", worst);
  EXPECT_LE(worst, 2e-7);
}

TEST(RmsNormBackward, RowsAreWithinTheStatedErrorOfBinary64) {
  double worst = 0.0;
  for (int64_t n : {2, 64, 512, 2048, 16384}) {
    const int64_t rows = 20;
    const Floats x = test::gaussian(sz(rows * n), sz(n)), dy = test::student_t3(sz(rows * n), sz(n + 1));
    const Norm y = norm(x, rows, n);
    Floats dx(x.size());
    ASSERT_TRUE(rms_norm_backward(dy.data(), y.y.data(), y.r.data(), rows, n, dx.data()));
    for (int64_t r = 0; r < rows; ++r) {
      double sum = 0.0, difference = 0.0, size = 0.0;
      for (int64_t c = 0; c < n; ++c) sum += static_cast<double>(dy[sz(r * n + c)]) * y.y[sz(r * n + c)];
      for (int64_t c = 0; c < n; ++c) {
        const size_t i = sz(r * n + c);
        const double exact = y.r[sz(r)] * (dy[i] - y.y[i] * sum / static_cast<double>(n));
        difference += (dx[i] - exact) * (dx[i] - exact);
        // Relative to the row before the projection: with two channels almost all of it cancels.
        size += static_cast<double>(y.r[sz(r)]) * dy[i] * y.r[sz(r)] * dy[i];
      }
      worst = std::max(worst, std::sqrt(difference / size));
    }
  }
  std::printf("  rms_norm_backward: %.2e of the row\n", worst);
  EXPECT_LE(worst, 1e-7);
}

TEST(RmsNorm, AgreesWithTheIntegerDefinition) {
  for (int64_t n : {1, 5, 100, 4096}) {
    const Floats x = test::student_t3(sz(n), sz(n + 7));
    const test::Group g(x.data(), n, 1, 24);
    int64_t sum = 0;
    for (int64_t q : g.q) sum += q * q;
    const float mean = test::scaled_integer(sum, 2 * (g.exponent - 24)) / static_cast<float>(n);
    const float factor = 1.0f / std::sqrt(mean + 0x1p-23f);
    const Norm got = norm(x, 1, n);
    EXPECT_EQ(test::bits(got.r[0]), test::bits(factor));
    for (int64_t i = 0; i < n; ++i) ASSERT_EQ(test::bits(got.y[sz(i)]), test::bits(x[sz(i)] * factor));
  }
}

TEST(RmsNorm, ZeroRowsStayZeroAndTinyOnesAreGovernedByEps) {
  Floats x(300, 0.0f);
  x[100] = 0x1p-149f;
  for (size_t i = 200; i < 300; ++i) x[i] = 1e-30f;
  const Norm got = norm(x, 3, 100);
  EXPECT_EQ(got.y[0], 0.0f);
  for (float r : got.r) EXPECT_FLOAT_EQ(r, 1.0f / std::sqrt(0x1p-23f));
}

TEST(RowDot, IsOneRoundingOfAnIntegerSum) {
  for (int64_t n : {1, 3, 512, 16384}) {
    const int64_t rows = 9;
    Floats a = test::student_t3(sz(rows * n), sz(n)), b = test::gaussian(sz(rows * n), sz(n + 1)), out(sz(rows));
    ASSERT_TRUE(row_dot(a.data(), b.data(), rows, n, out.data()));
    for (int64_t r = 0; r < rows; ++r) {
      const test::Group ga(&a[sz(r * n)], n, 1, 24), gb(&b[sz(r * n)], n, 1, 24);
      int64_t sum = 0;
      for (size_t i = 0; i < ga.q.size(); ++i) sum += ga.q[i] * gb.q[i];
      EXPECT_EQ(test::bits(out[sz(r)]), test::bits(test::scaled_integer(sum, ga.exponent + gb.exponent - 48)));
    }
  }
}

TEST(Norms, TheWidestRowOfLargestValuesDoesNotOverflow) {
  const int64_t n = 16384;
  Floats x(sz(n), 1.0f - 0x1p-24f), out(1);
  ASSERT_TRUE(row_dot(x.data(), x.data(), 1, n, out.data()));
  EXPECT_FLOAT_EQ(out[0], 16384.0f);
  const Norm y = norm(x, 1, n);
  EXPECT_NEAR(y.y[5], 1.0f, 2e-7f);
}

TEST(Norms, InstructionSetsThreadsAndTheOrderOfARowChangeNoBit) {
  for (int64_t n : {1, 17, 512, 1000}) {
    const int64_t rows = 70;
    const Floats x = test::student_t3(sz(rows * n), 1), dy = test::gaussian(sz(rows * n), 2);
    const Norm first = norm(x, rows, n);
    Floats dx(x.size()), dot(sz(rows));
    ASSERT_TRUE(rms_norm_backward(dy.data(), first.y.data(), first.r.data(), rows, n, dx.data()));
    ASSERT_TRUE(row_dot(x.data(), dy.data(), rows, n, dot.data()));
    test::on_every_machine([&](const std::string& machine) {
      const Norm again = norm(x, rows, n);
      Floats dx2(x.size()), dot2(sz(rows));
      EXPECT_TRUE(rms_norm_backward(dy.data(), first.y.data(), first.r.data(), rows, n, dx2.data()));
      EXPECT_TRUE(row_dot(x.data(), dy.data(), rows, n, dot2.data()));
      EXPECT_TRUE(test::same_bits(first.y, again.y)) << machine;
      EXPECT_TRUE(test::same_bits(first.r, again.r)) << machine;
      EXPECT_TRUE(test::same_bits(dx, dx2)) << machine;
      EXPECT_TRUE(test::same_bits(dot, dot2)) << machine;
    });
    Floats reversed = x;
    for (int64_t r = 0; r < rows; ++r) std::reverse(reversed.begin() + r * n, reversed.begin() + (r + 1) * n);
    EXPECT_TRUE(test::same_bits(first.r, norm(reversed, rows, n).r));
  }
}

TEST(Norms, MayWorkInPlace) {
  const int64_t rows = 6, n = 100;
  const Floats x = test::gaussian(sz(rows * n), 3), dy = test::gaussian(sz(rows * n), 4);
  const Norm separate = norm(x, rows, n);
  Floats y = x, r(sz(rows)), dx(x.size()), in_place = dy;
  ASSERT_TRUE(rms_norm(y.data(), rows, n, y.data(), r.data()));
  EXPECT_TRUE(test::same_bits(separate.y, y));
  ASSERT_TRUE(rms_norm_backward(dy.data(), y.data(), r.data(), rows, n, dx.data()));
  ASSERT_TRUE(rms_norm_backward(in_place.data(), y.data(), r.data(), rows, n, in_place.data()));
  EXPECT_TRUE(test::same_bits(dx, in_place));
}

TEST(Norms, ReportWhatIsNotFinite) {
  for (float bad : kNotFinite) {
    for (size_t at : {size_t{0}, size_t{99}, size_t{555}}) {
      Floats x = test::gaussian(600, 5), good = x, y(600), r(6), out(6);
      x[at] = bad;
      EXPECT_FALSE(rms_norm(x.data(), 6, 100, y.data(), r.data()));
      std::fill(r.begin(), r.end(), 1.0f);
      EXPECT_FALSE(rms_norm_backward(x.data(), good.data(), r.data(), 6, 100, y.data()));
      EXPECT_FALSE(rms_norm_backward(good.data(), x.data(), r.data(), 6, 100, y.data()));
      EXPECT_FALSE(row_dot(x.data(), good.data(), 6, 100, out.data()));
      EXPECT_FALSE(row_dot(good.data(), x.data(), 6, 100, out.data()));
      SumOfSquares sum;
      EXPECT_FALSE(sum.add(x));
    }
  }
}

// --- Sum of squares -------------------------------------------------------------------------------------------------

double total(const std::vector<Floats>& tensors) {
  SumOfSquares sum;
  for (const Floats& t : tensors) EXPECT_TRUE(sum.add(t));
  return sum.total();
}

TEST(SumOfSquaresTest, IsWithinTheStatedErrorForGaussianAndHeavyTails) {
  for (size_t count : {size_t{1}, size_t{4095}, size_t{4096}, size_t{4097}, size_t{1000000}}) {
    for (bool heavy : {false, true}) {
      std::vector<Floats> tensors = {heavy ? test::student_t3(count, 6) : test::gaussian(count, 6),
                                     test::gaussian(count, 7, 1e-3f)};
      long double exact = 0.0L;
      for (const Floats& t : tensors) {
        for (float v : t) exact += static_cast<long double>(v) * v;
      }
      const double error = std::fabs(total(tensors) / static_cast<double>(exact) - 1.0);
      std::printf("  sum of squares of %7zu values, %s: %.2e\n", count, heavy ? "Student t(3)" : "Gaussian", error);
      EXPECT_LE(error, count >= 1000000 ? 1e-9 : 5e-9) << count;
    }
  }
}

TEST(SumOfSquaresTest, TheOrderOfTensorsMachinesAndThreadsChangesNoBit) {
  std::vector<Floats> tensors;
  for (size_t i = 0; i < 12; ++i) tensors.push_back(test::student_t3(1000 + 3000 * i, i));
  const double expected = total(tensors);
  test::on_every_machine([&](const std::string& machine) { EXPECT_EQ(expected, total(tensors)) << machine; });
  std::reverse(tensors.begin(), tensors.end());
  EXPECT_EQ(expected, total(tensors));
}

TEST(SumOfSquaresTest, ExtremesNeitherOverflowNorVanish) {
  EXPECT_EQ(total({}), 0.0);
  EXPECT_EQ(total({Floats(5000, 0.0f)}), 0.0);
  EXPECT_NEAR(total({Floats(5000, 0x1p127f)}) / (5000.0 * 0x1p254), 1.0, 1e-12);
  EXPECT_NEAR(total({Floats(5000, 0x1p-100f)}) / (5000.0 * 0x1p-200), 1.0, 1e-12);
}

// --- Loss -----------------------------------------------------------------------------------------------------------

struct Loss {
  Floats nll, gradient;
};

Loss loss(Floats logits, int64_t rows, int64_t vocab, float cap, const std::vector<uint16_t>& targets) {
  Loss out{Floats(sz(rows)), {}};
  EXPECT_TRUE(cross_entropy(logits.data(), rows, vocab, cap, targets.data(), out.nll.data(), true));
  out.gradient = logits;
  return out;
}

std::vector<uint16_t> random_targets(int64_t rows, int64_t vocab, uint64_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<uint16_t> t(sz(rows));
  for (uint16_t& v : t) v = static_cast<uint16_t>(engine() % sz(vocab));
  return t;
}

/// Logits as an untrained, a trained and a very sure model give them.
Floats logits_of(int64_t rows, int64_t vocab, float scale, uint64_t seed) {
  return test::gaussian(sz(rows * vocab), seed, scale);
}

TEST(CrossEntropy, LossAndGradientAreWithinTheStatedErrorsOfBinary64) {
  for (int64_t vocab : {1024, 8192}) {
    for (float cap : {0.0f, 30.0f}) {
      for (float scale : {0.1f, 2.0f, 8.0f}) {
        const int64_t rows = 40;
        const Floats u = logits_of(rows, vocab, scale, 8);
        const std::vector<uint16_t> targets = random_targets(rows, vocab, 9);
        const Loss got = loss(u, rows, vocab, cap, targets);
        double usual = 0.0, large = 0.0;  // nll below and above 16 nats
        std::vector<double> gradient(u.size()), z(sz(vocab));
        for (int64_t r = 0; r < rows; ++r) {
          double max = -1e300, sum = 0.0;
          for (int64_t c = 0; c < vocab; ++c) {
            const double v = u[sz(r * vocab + c)];
            z[sz(c)] = cap == 0.0f ? v : cap * std::tanh(v / cap);
            max = std::max(max, z[sz(c)]);
          }
          for (double v : z) sum += std::exp(v - max);
          const double nll = std::log(sum) + max - z[targets[sz(r)]];
          double& worst = nll < 16.0 ? usual : large;
          worst = std::max(worst, std::fabs(got.nll[sz(r)] - nll));
          ASSERT_LT(nll, 64.0);
          for (int64_t c = 0; c < vocab; ++c) {
            const double w = cap == 0.0f ? 0.0 : z[sz(c)] / cap;
            gradient[sz(r * vocab + c)] =
                (std::exp(z[sz(c)] - max) / sum - (c == targets[sz(r)] ? 1.0 : 0.0)) * (1.0 - w * w);
          }
        }
        const double error = test::relative_error(got.gradient, gradient);
        std::printf("  V %5lld, cap %2.0f, logits %.1f: nll %.2e (from 16: %.2e), gradient %.2e\n",
                    static_cast<long long>(vocab), static_cast<double>(cap), static_cast<double>(scale), usual, large,
                    error);
        EXPECT_LE(usual, 4e-6) << vocab << " " << scale;
        EXPECT_LE(large, 6e-6) << vocab << " " << scale;
        EXPECT_LE(error, 1e-6) << vocab << " " << scale;
      }
    }
  }
}

/// Sum over all targets of exp(-nll), minus 1.
double normalisation_error(const Floats& row) {
  const int64_t vocab = static_cast<int64_t>(row.size());
  Floats all;
  std::vector<uint16_t> targets(row.size());
  std::iota(targets.begin(), targets.end(), uint16_t{0});
  for (int64_t c = 0; c < vocab; ++c) all.insert(all.end(), row.begin(), row.end());
  Floats nll(row.size());
  EXPECT_TRUE(cross_entropy(all.data(), vocab, vocab, 0.0f, targets.data(), nll.data(), false));
  double sum = 0.0;
  for (float v : nll) sum += std::exp(-static_cast<double>(v));
  return sum - 1.0;
}

TEST(CrossEntropy, ProbabilitiesOfAllTargetsSumToOne) {
  for (int64_t vocab : {1024, 8192}) {
    for (float scale : {0.1f, 2.0f, 8.0f}) {
      const double error = normalisation_error(logits_of(1, vocab, scale, 10));
      std::printf("  V %5lld, logits %.1f: sum of probabilities - 1 = %+.2e\n", static_cast<long long>(vocab),
                  static_cast<double>(scale), error);
      EXPECT_LE(std::fabs(error), 5e-7);
    }
    // One sure token above a floor of others whose weights are a few units: rounding down would lose half a unit of
    // each.
    for (float floor : {-18.0f, -19.0f, -20.0f}) {
      Floats row = logits_of(1, vocab, 0.5f, 11);
      for (float& v : row) v += floor;
      row[17] = 0.0f;
      const double error = normalisation_error(row);
      std::printf("  V %5lld, floor %.0f: sum of probabilities - 1 = %+.2e\n", static_cast<long long>(vocab),
                  static_cast<double>(floor), error);
      EXPECT_LE(std::fabs(error), 5e-7);
    }
  }
}

TEST(CrossEntropy, InstructionSetsThreadsAndTheOrderOfTheVocabularyChangeNoBit) {
  for (float cap : {0.0f, 30.0f}) {
    const int64_t rows = 30, vocab = 1031;
    const Floats u = logits_of(rows, vocab, 3.0f, 12);
    const std::vector<uint16_t> targets = random_targets(rows, vocab, 13);
    const Loss first = loss(u, rows, vocab, cap, targets);
    test::on_every_machine([&](const std::string& machine) {
      const Loss again = loss(u, rows, vocab, cap, targets);
      EXPECT_TRUE(test::same_bits(first.nll, again.nll)) << machine;
      EXPECT_TRUE(test::same_bits(first.gradient, again.gradient)) << machine;
    });
    Floats reversed = u;
    std::vector<uint16_t> turned = targets;
    for (int64_t r = 0; r < rows; ++r) std::reverse(reversed.begin() + r * vocab, reversed.begin() + (r + 1) * vocab);
    for (uint16_t& t : turned) t = static_cast<uint16_t>(vocab - 1 - t);
    EXPECT_TRUE(test::same_bits(first.nll, loss(reversed, rows, vocab, cap, turned).nll));
  }
}

TEST(CrossEntropy, TheLossDoesNotDependOnAskingForTheGradient) {
  const Floats u = logits_of(5, 300, 2.0f, 14);
  const std::vector<uint16_t> targets = random_targets(5, 300, 15);
  Floats logits = u, nll(5);
  ASSERT_TRUE(cross_entropy(logits.data(), 5, 300, 15.0f, targets.data(), nll.data(), false));
  EXPECT_TRUE(test::same_bits(nll, loss(u, 5, 300, 15.0f, targets).nll));
}

TEST(CrossEntropy, ReportsNonFiniteLogitsAndLossesBeyondTheLimit) {
  for (float bad : kNotFinite) {
    for (float cap : {0.0f, 30.0f}) {
      Floats u = logits_of(4, 100, 1.0f, 16), nll(4);
      u[250] = bad;
      const std::vector<uint16_t> targets(4, 0);
      EXPECT_FALSE(cross_entropy(u.data(), 4, 100, cap, targets.data(), nll.data(), true)) << bad << " " << cap;
    }
  }
  for (float gap : {1023.9f, 1024.1f, 3e38f}) {
    Floats u = {gap > 1e38f ? gap : 0.0f, gap > 1e38f ? -gap : -gap}, nll(1);
    const uint16_t target = 1;
    EXPECT_EQ(cross_entropy(u.data(), 1, 2, 0.0f, &target, nll.data(), false), gap < 1024.0f) << gap;
  }
}

TEST(CrossEntropy, EqualLogitsGiveTheLogarithmOfTheVocabulary) {
  for (int64_t vocab : {1, 2, 1024, 65536}) {
    Floats u(sz(vocab), 3.25f), nll(1);
    const uint16_t target = 0;
    ASSERT_TRUE(cross_entropy(u.data(), 1, vocab, 0.0f, &target, nll.data(), true));
    EXPECT_NEAR(nll[0], std::log(static_cast<double>(vocab)), 1e-6);
    EXPECT_NEAR(u[0], 1.0 / static_cast<double>(vocab) - 1.0, 1e-6);
  }
}

// --- Rope -----------------------------------------------------------------------------------------------------------

TEST(Rope, TableIsWithinTwoUlpOfTheAngleOfTheRoundedFrequency) {
  for (double base : {10000.0, 500000.0}) {
    for (int64_t width : {16, 64, 128}) {
      const int64_t length = 2048, half = width / 2;
      Floats table(sz(length * width));
      rope_table(length, width, base, false, table.data());
      double worst = 0.0;
      for (int64_t i = 0; i < half; ++i) {
        const double exact = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(width));
        const float theta = static_cast<float>(exact);
        for (int64_t p = 0; p < length; ++p) {
          const double angle = static_cast<double>(static_cast<float>(p) * theta);
          const float sin = table[sz((p * half + i) * 2)], cos = table[sz((p * half + i) * 2 + 1)];
          worst = std::max({worst, std::fabs(sin - std::sin(angle)), std::fabs(cos - std::cos(angle))});
        }
      }
      EXPECT_LE(worst, 1e-7) << base << " " << width;  // at most 2 ulp of a value of at most 1
    }
  }
}

TEST(Rope, Bfloat16FrequenciesAreRoundedOnce) {
  const int64_t length = 64, width = 64;
  Floats table(sz(length * width));
  rope_table(length, width, 10000.0, true, table.data());
  for (int64_t i = 0; i < width / 2; ++i) {
    const float theta = num::round_to_bf16(static_cast<float>(std::pow(10000.0, -2.0 * static_cast<double>(i) / 64.0)));
    for (int64_t p = 0; p < length; ++p) {
      EXPECT_EQ(test::bits(table[sz((p * 32 + i) * 2)]), test::bits(num::sin_cos(static_cast<float>(p) * theta).sin));
    }
  }
}

TEST(Rope, RotatesHalfSplitPairsClockwiseAndLeavesTheRestAlone) {
  const int64_t sequences = 2, length = 5, heads = 3, depth = 12, width = 8, tokens = sequences * length;
  Floats table(sz(length * width));
  rope_table(length, width, 100.0, false, table.data());
  const Floats x = test::gaussian(sz(tokens * heads * depth), 17);
  Floats y = x;
  rope(y.data(), tokens, length, heads, depth, width, table.data(), false);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t h = 0; h < heads; ++h) {
      const size_t at = sz((t * heads + h) * depth);
      for (int64_t i = 0; i < width / 2; ++i) {
        const double angle = static_cast<double>(t % length) * std::pow(100.0, -2.0 * static_cast<double>(i) / 8.0);
        const double a = x[at + sz(i)], b = x[at + sz(i + width / 2)];
        EXPECT_NEAR(y[at + sz(i)], a * std::cos(angle) + b * std::sin(angle), 2e-6);
        EXPECT_NEAR(y[at + sz(i + width / 2)], b * std::cos(angle) - a * std::sin(angle), 2e-6);
      }
      for (int64_t d = width; d < depth; ++d) EXPECT_EQ(y[at + sz(d)], x[at + sz(d)]);
    }
  }
}

TEST(Rope, TheBackwardRotationIsTheInverse) {
  const int64_t length = 100, heads = 2, depth = 64;
  Floats table(sz(length * depth));
  rope_table(length, depth, 10000.0, false, table.data());
  const Floats x = test::gaussian(sz(length * heads * depth), 18);
  Floats y = x;
  rope(y.data(), length, length, heads, depth, depth, table.data(), false);
  rope(y.data(), length, length, heads, depth, depth, table.data(), true);
  for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(y[i], x[i], 2e-6f);
}

// --- Accumulators ---------------------------------------------------------------------------------------------------

int64_t units(float x) { return test::rounded(x, 30); }

TEST(Accumulate, AddsRoundedTermsInUnitsOfTwoToTheMinus30) {
  // Small, exact, halves of a unit, and beyond 2^21, where the other loop runs.
  const Floats g = {0.0f,   1.0f,    -1.0f,          0x1p-31f, 0x3p-31f,        -0x1p-31f, 0x1.8p-30f,
                    1e-12f, 0x1p20f, 0x1.fffffep20f, 0x1p21f,  -0x1.234568p30f, 0x1p31f};
  for (size_t split = 0; split <= g.size(); ++split) {
    std::vector<int64_t> acc(g.size(), 5);
    ASSERT_TRUE(accumulate(g.data(), static_cast<int64_t>(split), 0x1p31f, acc.data()));
    for (size_t i = 0; i < g.size(); ++i) EXPECT_EQ(acc[i], i < split ? 5 + units(g[i]) : 5) << g[i];
  }
}

RC_GTEST_PROP(AccumulateProperty, TheOrderOfChunksChangesNoBit, ()) {
  const auto count = *rc::gen::inRange<size_t>(1, 200);
  const auto chunks = *rc::gen::inRange<size_t>(1, 12);
  const auto seed = *rc::gen::arbitrary<uint32_t>();
  std::vector<Floats> g;
  for (size_t i = 0; i < chunks; ++i) g.push_back(test::student_t3(count, seed + i));
  auto sum = [&] {
    std::vector<int64_t> acc(count, 0);
    for (const Floats& c : g)
      RC_ASSERT(
          accumulate(c.data(), static_cast<int64_t>(count), term_limit(static_cast<int64_t>(chunks)), acc.data()));
    return acc;
  };
  const std::vector<int64_t> first = sum();
  std::shuffle(g.begin(), g.end(), std::mt19937_64(seed));
  RC_ASSERT(test::same_bits(first, sum()));
}

TEST(Accumulate, ColumnSumsProductsAndGathersEqualTheirDefinitions) {
  const int64_t rows = 40, n = 130;
  const Floats a = test::student_t3(sz(rows * n), 19), b = test::gaussian(sz(rows * n), 20);
  const std::vector<uint16_t> ids = random_targets(rows, 7, 21);
  std::vector<int64_t> products(sz(n), 1), sums(sz(n), 2), gathered(sz(7 * n), 3);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      const float product = a[sz(r * n + c)] * b[sz(r * n + c)];
      products[sz(c)] += units(product);
      sums[sz(c)] += units(a[sz(r * n + c)]);
      gathered[sz(ids[sz(r)] * n + c)] += units(a[sz(r * n + c)]);
    }
  }
  test::on_every_machine([&](const std::string& machine) {
    std::vector<int64_t> x(sz(n), 1), y(sz(n), 2), z(sz(7 * n), 3);
    EXPECT_TRUE(accumulate_products(a.data(), b.data(), rows, n, 1e6f, x.data()));
    EXPECT_TRUE(accumulate_rows(a.data(), rows, n, 1e6f, y.data()));
    EXPECT_TRUE(accumulate_gathered(a.data(), ids.data(), rows, n, 1e6f, z.data()));
    EXPECT_TRUE(test::same_bits(products, x)) << machine;
    EXPECT_TRUE(test::same_bits(sums, y)) << machine;
    EXPECT_TRUE(test::same_bits(gathered, z)) << machine;
  });
}

TEST(Accumulate, ReportsTermsBeyondTheLimitAndNaNs) {
  for (float bad : {kNaN, -kNaN, kInfinity, -kInfinity, 16.000002f, -16.000002f}) {
    Floats g = test::gaussian(300, 22), ones(300, 1.0f);
    g[217] = bad;
    const std::vector<uint16_t> ids(3, 0);
    std::vector<int64_t> acc(300, 0);
    EXPECT_FALSE(accumulate(g.data(), 300, 16.0f, acc.data())) << bad;
    EXPECT_FALSE(accumulate_rows(g.data(), 3, 100, 16.0f, acc.data())) << bad;
    EXPECT_FALSE(accumulate_products(g.data(), ones.data(), 3, 100, 16.0f, acc.data())) << bad;
    EXPECT_FALSE(accumulate_gathered(g.data(), ids.data(), 3, 100, 16.0f, acc.data())) << bad;
    g[217] = 16.0f;
    EXPECT_TRUE(accumulate(g.data(), 300, 16.0f, acc.data()));
  }
}

TEST(Accumulate, TheLimitIsALargestPowerOfTwoThatCannotOverflow) {
  EXPECT_EQ(term_limit(1), 0x1p31f);
  for (int64_t terms : {1, 2, 3, 64, 65, 524288, 1000000}) {
    const double limit = static_cast<double>(term_limit(terms));
    EXPECT_LE(limit * static_cast<double>(terms), 0x1p31) << terms;
    EXPECT_GT(2 * limit * static_cast<double>(terms), 0x1p31) << terms;
  }
  // Full terms of both kinds stay inside int64.
  std::vector<int64_t> acc(1, 0);
  const Floats g = {term_limit(4)};
  for (int i = 0; i < 8; ++i) ASSERT_TRUE(accumulate(g.data(), 1, g[0], acc.data()));
  EXPECT_EQ(acc[0], int64_t{1} << 62);
}

TEST(Accumulate, TheMeanIsTwoRoundings) {
  const std::vector<int64_t> acc = {0, 1, -1, (int64_t{1} << 30) * 12345, -987654321987654321, 77};
  Floats g(acc.size());
  accumulated_mean(acc.data(), static_cast<int64_t>(acc.size()), 524288.0f, g.data());
  for (size_t i = 0; i < acc.size(); ++i)
    EXPECT_EQ(test::bits(g[i]), test::bits(test::scaled_integer(acc[i], -30) / 524288.0f));
}

// --- Element by element ---------------------------------------------------------------------------------------------

TEST(Elementwise, ScalesMixesAndAddsInTheOrderWritten) {
  const int64_t rows = 21, n = 33;
  const Floats x = test::gaussian(sz(rows * n), 23), z = test::gaussian(sz(rows * n), 24),
               s = test::gaussian(sz(n), 25), t = test::gaussian(sz(n), 26);
  Floats mixed(x.size()), added(x.size()), scaled(x.size()), sum = z;
  mix(x.data(), z.data(), s.data(), t.data(), rows, n, mixed.data());
  scaled_add(x.data(), s.data(), z.data(), rows, n, added.data());
  scale_channels(x.data(), s.data(), rows, n, scaled.data());
  add_to(x.data(), rows * n, sum.data());
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t c = i % sz(n);
    const volatile float a = s[c] * x[i], b = t[c] * z[i], d = s[c] * z[i];
    ASSERT_EQ(test::bits(mixed[i]), test::bits(a + b));
    ASSERT_EQ(test::bits(added[i]), test::bits(x[i] + d));
    ASSERT_EQ(test::bits(scaled[i]), test::bits(a));
    ASSERT_EQ(test::bits(sum[i]), test::bits(z[i] + x[i]));
  }
}

TEST(Elementwise, ReluSquaredAndItsDerivative) {
  const Floats a = {-2.0f, -0.0f, 0.0f, 0.5f, 3.0f, 1e30f, -kInfinity},
               dh = {5.0f, 5.0f, -5.0f, 2.0f, -1.0f, 1.0f, kInfinity};
  const Floats h = {0.0f, 0.0f, 0.0f, 0.25f, 9.0f, kInfinity, 0.0f}, da = {0.0f, 0.0f, 0.0f, 2.0f, -6.0f, 2e30f, 0.0f};
  Floats got(a.size());
  relu_squared(a.data(), static_cast<int64_t>(a.size()), got.data());
  EXPECT_TRUE(test::same_bits(h, got));
  relu_squared_backward(a.data(), dh.data(), static_cast<int64_t>(a.size()), got.data());
  EXPECT_TRUE(test::same_bits(da, got));  // +0 where a <= 0, whatever the gradient
}

TEST(Elementwise, HeadsRowsAndBfloat16) {
  const Floats x = test::gaussian(4 * 3 * 5, 27), g = {2.0f, -1.0f, 0.5f};
  Floats y(x.size());
  scale_heads(x.data(), g.data(), 4, 3, 5, y.data());
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(y[i], g[i / 5 % 3] * x[i]);
  const std::vector<uint16_t> ids = {3, 0, 3};
  Floats rows(15);
  gather_rows(x.data(), ids.data(), 3, 5, rows.data());
  for (size_t i = 0; i < 15; ++i) EXPECT_EQ(rows[i], x[ids[i / 5] * 5u + i % 5]);
  Floats rounded = x;
  round_to_bf16(rounded);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(rounded[i], num::round_to_bf16(x[i]));
}

TEST(Elementwise, AllFiniteSeesEveryElement) {
  Floats x = test::gaussian(40000, 28);
  EXPECT_TRUE(all_finite(x));
  EXPECT_TRUE(all_finite({}));
  for (float bad : kNotFinite) {
    for (size_t at : {size_t{0}, size_t{16383}, size_t{16384}, size_t{39999}}) {
      Floats y = x;
      y[at] = bad;
      EXPECT_FALSE(all_finite(y));
    }
  }
}

TEST(ControlWord, WorkersComputeWithSubnormals) {
  std::vector<float> results(64, 0.0f);
  parallel_for(64, [&](int64_t i) {
    const volatile float tiny = 0x1p-126f;
    results[sz(i)] = tiny * 0.5f;
    if (!control_word_ok()) results[sz(i)] = -1.0f;
  });
  for (float r : results) EXPECT_EQ(r, 0x1p-127f);
}

}  // namespace
}  // namespace fairway::kernels

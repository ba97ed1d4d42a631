// The functions of kernels/num: their errors against higher precision, their special values, and the random numbers.
//
// Errors are in units in the last place of the binary32 result. The sweeps compare with glibc's binary64 functions,
// whose own error of one binary64 ulp is 2^-29 of ours; the worst case found is measured again in long double.
// FAIRWAY_EXHAUSTIVE=1 visits every binary32 argument of every function of one argument instead of a dense choice
// (minutes).
#include <gtest/gtest.h>
#include <omp.h>
#include <rapidcheck/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>

#include "kernels/num/exact_sum.h"
#include "kernels/num/exp.h"
#include "kernels/num/half.h"
#include "kernels/num/log.h"
#include "kernels/num/philox.h"
#include "kernels/num/scalar64.h"
#include "kernels/num/tanh.h"
#include "kernels/num/trig.h"
#include "support.h"

namespace fairway::num {
namespace {

const float kInfinity = std::numeric_limits<float>::infinity();
const float kNaN = std::numeric_limits<float>::quiet_NaN();

bool exhaustive() {
  const char* asked = std::getenv("FAIRWAY_EXHAUSTIVE");
  return asked != nullptr && std::string(asked) == "1";
}

/// The unit in the last place of binary32 at a real number (of the smallest subnormal below the normal range).
template <class Real>
Real ulp_at(Real x) {
  int e;
  std::frexp(x, &e);
  return std::ldexp(Real{1}, std::max(e - 24, -149));
}

struct Worst {
  double error = 0.0;  ///< in ulp
  float at = 0.0f;
};

/// Largest error of f over the floats with bit patterns first, first + step, ..., last.
template <class F, class Reference>
Worst sweep(const F& f, const Reference& reference, uint32_t first, uint32_t last, uint32_t step) {
  Worst worst;
  const int64_t count = (static_cast<int64_t>(last) - first) / step + 1;
#pragma omp parallel
  {
    Worst mine;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < count; ++i) {
      const float x = float_of(first + static_cast<uint32_t>(i) * step);
      const double exact = reference(static_cast<double>(x));
      const double error = std::fabs(static_cast<double>(f(x)) - exact) / ulp_at(exact);
      if (!(error <= mine.error)) mine = {error, x};
    }
#pragma omp critical
    if (!(mine.error <= worst.error)) worst = mine;
  }
  return worst;
}

/// Floats of both signs of [low, high], or the positive ones only.
struct Range {
  float low, high;
  uint32_t step;
  bool both_signs;
};

/// Error at one argument, in long double.
template <class F, class Reference>
double error_at(const F& f, const Reference& reference, float x) {
  const long double exact = reference(static_cast<long double>(x));
  return static_cast<double>(std::fabs(static_cast<long double>(f(x)) - exact) / ulp_at(exact));
}

/// What a header states: the bound, and the worst case an exhaustive run found.
struct Stated {
  double bound;
  float worst_at;
};

/// Sweeps the ranges; neither what it finds nor the recorded worst case may exceed the stated bound, and the recorded
/// one must be within two hundredths of it, so that a header cannot claim too much or too little.
template <class F, class Reference>
void measure(const char* name, const F& f, const Reference& reference, std::initializer_list<Range> ranges,
             Stated stated) {
  Worst worst;
  for (Range r : ranges) {
    if (exhaustive()) r.step = 1;
    for (uint32_t sign : {0u, 0x80000000u}) {
      if (sign != 0 && !r.both_signs) continue;
      const Worst w = sweep(f, reference, bits_of(r.low) | sign, bits_of(r.high) | sign, r.step);
      if (!(w.error <= worst.error)) worst = w;
    }
  }
  const double found = error_at(f, reference, worst.at), recorded = error_at(f, reference, stated.worst_at);
  std::printf("  %-12s worst %.4f ulp at %a, recorded %.4f at %a\n", name, found, static_cast<double>(worst.at),
              recorded, static_cast<double>(stated.worst_at));
  std::fflush(stdout);
  EXPECT_NEAR(found, worst.error, 1e-4);
  EXPECT_LT(found, stated.bound) << name << " at " << worst.at;
  EXPECT_LE(found, recorded + 1e-4) << name << ": a worse case than the recorded one, at " << worst.at;
  EXPECT_LT(recorded, stated.bound) << name;
  EXPECT_GT(recorded, stated.bound - 0.02) << name;
}

constexpr float kSmallest = 0x1p-149f, kLargest = 0x1.fffffep127f;

TEST(Exp2Unit, ErrorIsBelowTheStatedBoundForEveryArgument) {
  auto reference = [](auto x) { return std::exp2(x); };
  measure("exp2_unit", [](float x) { return exp2_unit(x); }, reference,
          {{0x1p-30f, 1.0f, 1, false}, {kSmallest, 0x1p-30f, 9973, false}}, {0.96, 0x1.fe9772p-1f});
}

TEST(Exp2Unit, StaysWithinOneAndTwoAndIsExactAtTheEnds) {
  EXPECT_EQ(exp2_unit(0.0f), 1.0f);
  EXPECT_EQ(exp2_unit(1.0f), 2.0f);
  EXPECT_EQ(exp2_unit(kSmallest), 1.0f);
  bool inside = true;
#pragma omp parallel for reduction(&& : inside)
  for (uint32_t u = bits_of(0x1p-30f); u <= bits_of(1.0f); ++u) {
    const float f = exp2_unit(float_of(u));
    inside = inside && f >= 1.0f && f <= 2.0f;
  }
  EXPECT_TRUE(inside);
}

TEST(Exp, ErrorIsBelowTheStatedBoundWhereTheResultIsNormal) {
  auto reference = [](auto x) { return std::exp(x); };
  measure("exp", [](float x) { return exp(x); }, reference,
          {{0x1p-30f, 87.336f, 11, true}, {87.336f, 88.7228f, 3, false}, {kSmallest, 0x1p-30f, 9973, true}},
          {1.09, 0x1.4cbbcep+2f});
}

TEST(Exp, SubnormalResultsAreRoundedOnceMore) {
  auto reference = [](auto x) { return std::exp(x); };
  const Worst w = sweep([](float x) { return exp(x); }, reference, bits_of(-87.3366f), bits_of(-104.0f), 1);
  std::printf("  %-12s worst %.4f units of 2^-149 at %a\n", "exp below", w.error, static_cast<double>(w.at));
  EXPECT_LT(w.error, 0.75);
}

TEST(Exp, SpecialValues) {
  EXPECT_EQ(exp(0.0f), 1.0f);
  EXPECT_EQ(exp(-0.0f), 1.0f);
  EXPECT_EQ(exp(kSmallest), 1.0f);
  EXPECT_EQ(exp(kInfinity), kInfinity);
  EXPECT_EQ(bits_of(exp(-kInfinity)), 0u);
  EXPECT_EQ(exp(kLargest), kInfinity);
  EXPECT_EQ(bits_of(exp(-kLargest)), 0u);
  EXPECT_EQ(exp(89.0f), kInfinity);
  EXPECT_EQ(exp(-104.0f), 0.0f);
  EXPECT_TRUE(std::isnan(exp(kNaN)));
  EXPECT_TRUE(std::isnan(exp(-kNaN)));
}

TEST(Log, ErrorIsBelowTheStatedBoundOverAllExponents) {
  auto reference = [](auto x) { return std::log(x); };
  measure("log", [](float x) { return log(x); }, reference, {{kSmallest, kLargest, 53, false}, {0.5f, 2.0f, 1, false}},
          {0.84, 0x1.67cc32p+0f});
}

TEST(Log, SpecialValues) {
  EXPECT_EQ(bits_of(log(1.0f)), 0u);
  EXPECT_EQ(log(0.0f), -kInfinity);
  EXPECT_EQ(log(-0.0f), -kInfinity);
  EXPECT_EQ(log(kInfinity), kInfinity);
  for (float x : {-1.0f, -kSmallest, -kLargest, -kInfinity, kNaN, -kNaN}) EXPECT_TRUE(std::isnan(log(x))) << x;
  EXPECT_FLOAT_EQ(log(kSmallest), -103.27893f);
}

TEST(Tanh, ErrorIsBelowTheStatedBound) {
  auto reference = [](auto x) { return std::tanh(x); };
  measure("tanh", [](float x) { return tanh(x); }, reference,
          {{0x1p-14f, 12.5f, 3, true}, {kSmallest, 0x1p-14f, 997, true}, {12.5f, kLargest, 9973, true}},
          {1.34, 0x1.34c5aap-1f});
}

TEST(Tanh, IsOddBoundedByOneAndKeepsSpecialValues) {
  EXPECT_EQ(bits_of(tanh(0.0f)), 0u);
  EXPECT_EQ(bits_of(tanh(-0.0f)), 0x80000000u);
  EXPECT_EQ(tanh(kInfinity), 1.0f);
  EXPECT_EQ(tanh(-kInfinity), -1.0f);
  EXPECT_TRUE(std::isnan(tanh(kNaN)));
  EXPECT_EQ(tanh(kSmallest), kSmallest);
  std::mt19937_64 engine(1);
  for (int i = 0; i < 1000000; ++i) {
    const float x = test::random_finite(engine), y = tanh(x);
    ASSERT_EQ(bits_of(tanh(-x)), bits_of(y) ^ 0x80000000u) << x;
    ASSERT_LE(std::fabs(y), 1.0f) << x;
  }
}

TEST(Sigmoid, ErrorIsBelowTheStatedBoundWhereTheResultIsNormal) {
  auto reference = [](auto x) { return 1 / (1 + std::exp(-x)); };
  measure("sigmoid", [](float x) { return sigmoid(x); }, reference,
          {{0x1p-30f, 87.3f, 7, true}, {kSmallest, 0x1p-30f, 9973, true}, {87.3f, kLargest, 9973, false}},
          {2.83, -0x1.f4495ep+0f});
}

TEST(Sigmoid, SpecialValues) {
  EXPECT_EQ(sigmoid(0.0f), 0.5f);
  EXPECT_EQ(sigmoid(kInfinity), 1.0f);
  EXPECT_EQ(sigmoid(-kInfinity), 0.0f);
  EXPECT_EQ(sigmoid(kLargest), 1.0f);
  EXPECT_EQ(sigmoid(-kLargest), 0.0f);
  EXPECT_TRUE(std::isnan(sigmoid(kNaN)));
}

TEST(SinCosTest, ErrorIsBelowTheStatedBoundUpToTheLimit) {
  measure(
      "sin", [](float x) { return sin_cos(x).sin; }, [](auto x) { return std::sin(x); },
      {{0x1p-14f, kTrigLimit, 13, true}, {kSmallest, 0x1p-14f, 9973, true}}, {1.58, 0x1.3c7904p+15f});
  measure(
      "cos", [](float x) { return sin_cos(x).cos; }, [](auto x) { return std::cos(x); },
      {{0x1p-14f, kTrigLimit, 13, true}, {kSmallest, 0x1p-14f, 9973, true}}, {1.58, 0x1.794a58p+11f});
}

TEST(SinCosTest, HoldsAroundEveryMultipleOfHalfPi) {
  // Where one of the two almost vanishes the reduction's absolute error becomes a relative one.
  const long double half_pi = 1.57079632679489661923132169163975144L;
  double worst = 0.0;
  for (int64_t n = 1; n <= 83443; ++n) {
    float x = static_cast<float>(static_cast<long double>(n) * half_pi);
    for (int step = 0; step < 4; ++step) x = std::nextafter(x, 0.0f);
    for (int step = 0; step < 9; ++step, x = std::nextafter(x, kInfinity)) {
      if (x > kTrigLimit) break;
      const SinCos got = sin_cos(x);
      const long double s = std::sin(static_cast<long double>(x)), c = std::cos(static_cast<long double>(x));
      worst = std::max(worst, static_cast<double>(std::fabs(got.sin - s) / ulp_at(s)));
      worst = std::max(worst, static_cast<double>(std::fabs(got.cos - c) / ulp_at(c)));
    }
  }
  std::printf("  near multiples of pi/2: worst %.4f ulp\n", worst);
  EXPECT_LT(worst, 1.58);
}

TEST(SinCosTest, ZeroAndTheSmallestNumbers) {
  EXPECT_EQ(bits_of(sin_cos(0.0f).sin), 0u);
  EXPECT_EQ(sin_cos(0.0f).cos, 1.0f);
  EXPECT_EQ(sin_cos(kSmallest).sin, kSmallest);
  EXPECT_EQ(sin_cos(-kSmallest).sin, -kSmallest);
}

// --- binary64 -------------------------------------------------------------------------------------------------------

TEST(Scalar64, Log2IsWithinTheStatedError) {
  std::mt19937_64 engine(2);
  double worst = 0.0;
  auto check = [&](double x) {
    const long double exact = std::log2(static_cast<long double>(x));
    const double error = static_cast<double>(std::fabs(log2_64(x) - exact));
    worst = std::max(worst, error / static_cast<double>(4e-16L + 2e-16L * std::fabs(exact)));
  };
  for (int i = 0; i < 2000000; ++i) {
    check(std::ldexp(1.0 + static_cast<double>(engine() >> 12) * 0x1p-52, static_cast<int>(engine() % 2045) - 1022));
    check(0.5 + static_cast<double>(engine() >> 11) * 0x1p-53 * 1.5);  // [1/2, 2), where log2 vanishes
    check(1.0 +
          (static_cast<double>(engine() >> 11) * 0x1p-53 - 0.5) * std::ldexp(1.0, -static_cast<int>(engine() % 50)));
  }
  std::printf("  log2_64: %.3f of the stated error\n", worst);
  EXPECT_LE(worst, 1.0);
  for (int n = -1022; n <= 1023; ++n) ASSERT_EQ(log2_64(std::ldexp(1.0, n)), n);
}

TEST(Scalar64, Exp2IsWithinTheStatedError) {
  std::mt19937_64 engine(3);
  double worst = 0.0;
  for (int i = 0; i < 3000000; ++i) {
    double x = (static_cast<double>(engine() >> 11) * 0x1p-53 - 0.5) * 2000.0;
    if (i % 3 == 1) x /= 1000.0;
    if (i % 3 == 2) x = std::ldexp(x / 1000.0, -static_cast<int>(engine() % 60));
    const long double exact = std::exp2(static_cast<long double>(x));
    worst = std::max(worst, static_cast<double>(std::fabs(exp2_64(x) / exact - 1)));
  }
  std::printf("  exp2_64: relative error %.3e\n", worst);
  EXPECT_LT(worst, 4e-16);
  for (int n = -1000; n <= 1000; ++n) ASSERT_EQ(exp2_64(n), std::ldexp(1.0, n));
}

TEST(Scalar64, PowerIsWithinTheStatedError) {
  std::mt19937_64 engine(4);
  double worst = 0.0;
  for (int i = 0; i < 1000000; ++i) {
    const double base = std::exp((static_cast<double>(engine() >> 11) * 0x1p-53 - 0.5) * 40.0);
    const double exponent = (static_cast<double>(engine() >> 11) * 0x1p-53 - 0.5) * 20.0;
    const long double exact = std::pow(static_cast<long double>(base), static_cast<long double>(exponent));
    const double power = std::fabs(exponent * std::log2(base));
    worst =
        std::max(worst, static_cast<double>(std::fabs(pow_64(base, exponent) / exact - 1)) / (1e-15 * (1.0 + power)));
  }
  std::printf("  pow_64: %.3f of the stated error\n", worst);
  EXPECT_LT(worst, 1.0);
  EXPECT_EQ(pow_64(10000.0, 0.0), 1.0);
  EXPECT_EQ(pow_64(1.0, 123.0), 1.0);
}

RC_GTEST_PROP(Scalar64Property, IntegerPowerIsExactForPowersOfTwoAndCloseOtherwise, (uint16_t raw)) {
  const uint64_t n = raw % 1000;
  RC_ASSERT(pow_int_64(2.0, n) == std::ldexp(1.0, static_cast<int>(n)));
  const long double exact = std::pow(0.95L, static_cast<long double>(n)) *
                            std::pow(static_cast<long double>(0.95) / 0.95L, static_cast<long double>(n));
  RC_ASSERT(std::fabs(pow_int_64(0.95, n) / exact - 1) < 1e-15L * (2 + static_cast<long double>(n)));
}

// --- Bits -----------------------------------------------------------------------------------------------------------

TEST(FloatBits, RoundToIntIsRintOverTiesAndUpToTheLimit) {
  for (int32_t n = -70000; n <= 70000; ++n) {
    for (int32_t eighth = 0; eighth < 8; ++eighth) {
      const float x = static_cast<float>(n) + static_cast<float>(eighth) * 0.125f;
      ASSERT_EQ(round_to_int(x), static_cast<int32_t>(std::nearbyint(x))) << x;
    }
  }
  std::mt19937_64 engine(5);
  for (int i = 0; i < 5000000; ++i) {
    const float x =
        (static_cast<float>(engine() >> 40) * 0x1p-23f - 1.0f) * std::ldexp(0x1p22f, -static_cast<int>(engine() % 30));
    ASSERT_EQ(round_to_int(x), static_cast<int32_t>(std::nearbyint(x))) << x;
  }
  for (float x : {0x1p22f, -0x1p22f, 4194303.75f, -4194303.75f, 4194303.5f, -4194303.5f, 0.5f, -0.5f, 0.49999997f,
                  kSmallest, -0.0f}) {
    EXPECT_EQ(round_to_int(x), static_cast<int32_t>(std::nearbyint(x))) << x;
  }
}

TEST(FloatBits, RoundToInt24IsRintUpToTwoToThe24) {
  std::mt19937_64 engine(6);
  for (int i = 0; i < 5000000; ++i) {
    const float x =
        (static_cast<float>(engine() >> 40) * 0x1p-23f - 1.0f) * std::ldexp(0x1p24f, -static_cast<int>(engine() % 26));
    ASSERT_EQ(round_to_int24(x), static_cast<int32_t>(std::nearbyint(x))) << x;
  }
  for (float x : {0x1p24f, -0x1p24f, 8388607.5f, -8388607.5f, 8388606.5f, 8388609.0f})
    EXPECT_EQ(round_to_int24(x), static_cast<int32_t>(std::nearbyint(x))) << x;
}

TEST(FloatBits, RoundToInt64IsRintBelowTwoToThe51) {
  std::mt19937_64 engine(7);
  for (int i = 0; i < 5000000; ++i) {
    double x =
        std::ldexp(static_cast<double>(static_cast<int64_t>(engine())) * 0x1p-63, static_cast<int>(engine() % 52));
    if (i % 2 == 0) x = std::floor(x) + 0.5;
    if (std::fabs(x) >= 0x1p51) continue;
    ASSERT_EQ(round_to_int64(x), static_cast<int64_t>(std::nearbyint(x))) << x;
  }
  for (double x : {0x1p51 - 0.5, -0x1p51 + 0.5, 0x1p51 - 0.25, 0.5, -0.5, 1.5, 2.5})
    EXPECT_EQ(round_to_int64(x), static_cast<int64_t>(std::nearbyint(x))) << x;
}

TEST(FloatBits, FloorIsFloor) {
  std::mt19937_64 engine(8);
  for (int i = 0; i < 5000000; ++i) {
    const float x =
        (static_cast<float>(engine() >> 40) * 0x1p-23f - 1.0f) * std::ldexp(0x1p21f, -static_cast<int>(engine() % 40));
    ASSERT_EQ(floor_to_int(x), static_cast<int32_t>(std::floor(x))) << x;
  }
  for (float x : {-1.0f, -kSmallest, -0.0f, kSmallest, 0x1p21f, -0x1p21f})
    EXPECT_EQ(floor_to_int(x), static_cast<int32_t>(std::floor(x))) << x;
}

TEST(FloatBits, ScalingByAPowerOfTwoRoundsOnceAndOverflows) {
  std::mt19937_64 engine(9);
  for (int i = 0; i < 3000000; ++i) {
    const float x = test::random_finite(engine);
    const int32_t n = static_cast<int32_t>(engine() % 1601) - 800;
    ASSERT_EQ(bits_of(scale_pow2(x, n)), bits_of(std::scalbn(x, n))) << x << " * 2^" << n;
  }
  for (int32_t n = -126; n <= 127; ++n) ASSERT_EQ(pow2_f32(n), std::ldexp(1.0f, n));
  for (int32_t n = -1022; n <= 1023; ++n) ASSERT_EQ(pow2_f64(n), std::ldexp(1.0, n));
}

TEST(Grids, UnitsAreRoundedToNearestEven) {
  std::mt19937_64 engine(10);
  for (int i = 0; i < 2000000; ++i) {
    const float x =
        (static_cast<float>(engine() >> 40) * 0x1p-23f - 1.0f) * std::ldexp(1.0f, 31 - static_cast<int>(engine() % 70));
    const int64_t expected = static_cast<int64_t>(std::nearbyint(std::ldexp(static_cast<double>(x), 30)));
    if (std::fabs(x) < 0x1p21f) {
      ASSERT_EQ(gradient_units(x), expected) << x;
    }
    ASSERT_EQ(gradient_units_large(x), expected) << x;
    const float p = std::fabs(x) * 0x1p-12f;
    ASSERT_EQ(probability_units(p), static_cast<int64_t>(std::nearbyint(std::ldexp(static_cast<double>(p), 30)))) << p;
    const float nll = x * 0x1p-22f;
    ASSERT_EQ(loss_units(nll), static_cast<int64_t>(std::nearbyint(std::ldexp(static_cast<double>(nll), 26)))) << nll;
  }
}

// --- Halves ---------------------------------------------------------------------------------------------------------

struct Format {
  int significand, min_exponent,
      max_exponent;  ///< bits with the hidden one; exponents of the smallest and largest normal
};
constexpr Format kBf16{8, -126, 127}, kFp16{11, -14, 15};

/// x rounded to the format in binary64.
double rounded(double x, const Format& f) {
  if (x == 0.0 || !std::isfinite(x)) return x;
  int e;
  std::frexp(x, &e);
  const int unit = std::max(e - 1, f.min_exponent) - (f.significand - 1);
  const double y = std::ldexp(std::nearbyint(std::ldexp(x, -unit)), unit);
  return std::fabs(y) >= std::ldexp(1.0, f.max_exponent + 1) ? std::copysign(std::numeric_limits<double>::infinity(), x)
                                                             : y;
}

/// The value of 16 bits, from the format's definition.
double decoded(uint16_t h, const Format& f) {
  const int mantissa_bits = f.significand - 1;
  const int exponent = (h & 0x7fff) >> mantissa_bits, mantissa = h & ((1 << mantissa_bits) - 1);
  const double sign = (h & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == f.max_exponent - f.min_exponent + 2) {
    return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN() : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, f.min_exponent - mantissa_bits);
  return sign * std::ldexp(mantissa + (1 << mantissa_bits), f.min_exponent + exponent - 1 - mantissa_bits);
}

template <class To, class From>
void check_format(const Format& format, const To& to, const From& from) {
  auto expect_rounded = [&](float x) {
    const double expected = rounded(static_cast<double>(x), format);
    const float got = from(to(x));
    ASSERT_EQ(bits_of(got), bits_of(static_cast<float>(expected))) << x;
  };
  for (uint32_t h = 0; h < 65536; ++h) {
    const uint16_t bits = static_cast<uint16_t>(h);
    const double value = decoded(bits, format);
    const float x = from(bits);
    if (std::isnan(value)) {
      ASSERT_TRUE(std::isnan(x)) << h;
      ASSERT_TRUE(std::isnan(from(to(x)))) << h;
      continue;
    }
    ASSERT_EQ(bits_of(x), bits_of(static_cast<float>(value))) << h;
    ASSERT_EQ(to(x), bits) << h;
    // Towards the next value: the neighbour, the tie, and both sides of the tie.
    const double next = decoded(static_cast<uint16_t>(h + 1), format);
    const double step = std::isfinite(next) ? next - value : 0.0;
    const float tie = static_cast<float>(value + step / 2);
    for (float y : {tie, std::nextafter(tie, kInfinity), std::nextafter(tie, -kInfinity), std::nextafter(x, kInfinity),
                    std::nextafter(x, -kInfinity)}) {
      if (std::isfinite(y)) expect_rounded(y);
    }
  }
  std::mt19937_64 engine(11);
  for (int i = 0; i < 5000000; ++i) expect_rounded(test::random_finite(engine));
  for (float x : {kLargest, -kLargest, 65504.0f, 65519.996f, 65520.0f, 65536.0f, kSmallest, 0x1p-25f, 0x1.000002p-25f,
                  kInfinity, -kInfinity})
    expect_rounded(x);
}

TEST(Halves, Bfloat16IsExactForEveryPatternAndRoundsItsNeighboursToEven) {
  check_format(
      kBf16, [](float x) { return to_bf16_bits(x); }, [](uint16_t h) { return from_bf16_bits(h); });
  for (uint32_t u : {0x7f800001u, 0x7fffffffu, 0xff800001u}) EXPECT_TRUE(std::isnan(round_to_bf16(float_of(u))));
}

TEST(Halves, Binary16IsExactForEveryPatternAndRoundsItsNeighboursToEven) {
  check_format(
      kFp16, [](float x) { return to_fp16_bits(x); }, [](uint16_t h) { return from_fp16_bits(h); });
  for (uint32_t u : {0x7f800001u, 0x7fffffffu, 0xff800001u})
    EXPECT_TRUE(std::isnan(from_fp16_bits(to_fp16_bits(float_of(u)))));
}

// --- Random numbers -------------------------------------------------------------------------------------------------

TEST(PhiloxTest, GivesTheKnownAnswersOfItsAuthors) {
  auto expect = [](Philox got, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    EXPECT_EQ(got.word[0], a);
    EXPECT_EQ(got.word[1], b);
    EXPECT_EQ(got.word[2], c);
    EXPECT_EQ(got.word[3], d);
  };
  // Random123, kat_vectors, philox4x32 10.
  expect(philox(0, 0, 0, 0), 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u);
  expect(philox(~0ull, ~0ull, ~0u, ~0u), 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu);
  expect(philox(0x299f31d0a4093822ull, 0x85a308d3243f6a88ull, 0x13198a2eu, 0x03707344u), 0xd16cfe09u, 0x94fdccebu,
         0x5001e420u, 0x24126ea1u);
}

TEST(PhiloxTest, UniformsAreOddMultiplesOfTwoToTheMinus24InsideTheInterval) {
  EXPECT_EQ(uniform_of(0), 0x1p-24f);
  EXPECT_EQ(uniform_of(0x1ff), 0x1p-24f);
  EXPECT_EQ(uniform_of(0xffffffffu), 1.0f - 0x1p-24f);
  double sum = 0.0;
  const int count = 1 << 20;
  for (int i = 0; i < count; ++i) {
    const float u = uniform(7, 1, kPurposeInit, static_cast<uint64_t>(i));
    const double k = static_cast<double>(u) * 0x1p24;
    ASSERT_TRUE(u > 0.0f && u < 1.0f && k == std::floor(k) && static_cast<int64_t>(k) % 2 == 1);
    sum += static_cast<double>(u);
  }
  EXPECT_NEAR(sum / count, 0.5, 4 * 0.29 / std::sqrt(count));
}

TEST(PhiloxTest, NormalsAreBoxMullerOfTheUniformsInOrder) {
  for (uint64_t i = 0; i < 100000; ++i) {
    const Philox block = philox(99, i / 4, 5, kPurposeInit);
    const size_t pair = i % 4 < 2 ? 0 : 2;
    const double u1 = static_cast<double>(2 * (block.word[pair] >> 9) + 1) * 0x1p-24,
                 u2 = static_cast<double>(2 * (block.word[pair + 1] >> 9) + 1) * 0x1p-24;
    const double radius = std::sqrt(-2.0 * std::log(u1)), angle = 2.0 * 3.14159265358979323846 * u2;
    const double expected = radius * (i % 2 == 0 ? std::cos(angle) : std::sin(angle));
    ASSERT_NEAR(normal(99, 5, kPurposeInit, i), expected, 2e-6 * (1.0 + std::fabs(expected))) << i;
  }
}

TEST(PhiloxTest, NormalsHaveTheMomentsOfTheNormalDistribution) {
  const int64_t count = 1 << 22;
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0, lag = 0, previous = 0;
  float largest = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float value = normal(1, 2, kPurposeInit, static_cast<uint64_t>(i));
    const double x = static_cast<double>(value);
    m1 += x;
    m2 += x * x;
    m3 += x * x * x;
    m4 += x * x * x * x;
    lag += x * previous;
    previous = x;
    largest = std::max(largest, std::fabs(value));
  }
  const double n = static_cast<double>(count), root = std::sqrt(n);
  EXPECT_NEAR(m1 / n, 0.0, 4 / root);
  EXPECT_NEAR(m2 / n, 1.0, 4 * std::sqrt(2.0) / root);
  EXPECT_NEAR(m3 / n, 0.0, 4 * std::sqrt(15.0) / root);
  EXPECT_NEAR(m4 / n, 3.0, 4 * std::sqrt(96.0) / root);
  EXPECT_NEAR(lag / n, 0.0, 4 / root);
  EXPECT_LE(largest, 5.77f);  // sqrt(-2 log 2^-24)
  EXPECT_GE(largest, 4.5f);
}

TEST(PhiloxTest, SeedTensorPurposeAndIndexAllMatter) {
  const float base = normal(1, 2, kPurposeInit, 3);
  EXPECT_NE(base, normal(2, 2, kPurposeInit, 3));
  EXPECT_NE(base, normal(1ull << 32 | 1, 2, kPurposeInit, 3));
  EXPECT_NE(base, normal(1, 3, kPurposeInit, 3));
  EXPECT_NE(base, normal(1, 2, kPurposeSpotCheck, 3));
  EXPECT_NE(base, normal(1, 2, kPurposeInit, 7));
  EXPECT_NE(base, normal(1, 2, kPurposeInit, 3 + (4ull << 32)));
}

}  // namespace
}  // namespace fairway::num

// The exact product: against a direct evaluation of its definition, across instruction sets, threads and splits,
// against oneDNN's integer product, and its error against binary64.
#include "kernels/matmul.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <numeric>

#include "definitions.h"
#include "support.h"

#ifdef FAIRWAY_HAVE_DNNL
#include <dnnl.h>
#endif

namespace fairway::kernels {
namespace {

using test::Floats;

constexpr Products kAllProducts[] = {Products::kP3, Products::kP4, Products::kS21};

/// Integers of a matrix and its exponents, and the same as a Quantised.
struct Operand {
  int64_t rows, columns;
  int bits;
  std::vector<int64_t> q;
  std::vector<int32_t> exponent;

  Quantised packed() const {
    Quantised out;
    out.resize(rows, columns, bits);
    const int slices = slices_of_bits(bits);
    for (int s = 0; s < slices; ++s) std::fill_n(out.plane(s), rows * out.stride(), int8_t{0});
    for (int64_t r = 0; r < rows; ++r) {
      out.exponents()[r] = exponent[static_cast<size_t>(r)];
      for (int64_t k = 0; k < columns; ++k) {
        const std::array<int, 3> s = test::slices_of(q[static_cast<size_t>(r * columns + k)], slices);
        for (int i = 0; i < slices; ++i)
          out.plane(i)[r * out.stride() + k] = static_cast<int8_t>(s[static_cast<size_t>(i)]);
      }
    }
    return out;
  }
};

enum class Filling { kRandom, kAllLimit, kSignsOfLimit, kLowestSlices };

Operand operand(int64_t rows, int64_t columns, Products products, Filling filling, uint64_t seed, int low_exponent = -5,
                int high_exponent = 5) {
  std::mt19937_64 engine(seed);
  const int bits = bits_of_products(products);
  const int64_t limit = test::limit_of(bits);
  // Every slice at -64 below the highest at +-127: the largest magnitudes of the cross terms.
  const int64_t lowest = bits == 14 ? 127 * 128 - 64 : (127 * 128 - 64) * 128 - 64;
  Operand o{rows, columns, bits, std::vector<int64_t>(static_cast<size_t>(rows * columns)),
            std::vector<int32_t>(static_cast<size_t>(rows))};
  for (int64_t& q : o.q) {
    if (filling == Filling::kRandom) q = static_cast<int64_t>(engine() % static_cast<uint64_t>(2 * limit + 1)) - limit;
    if (filling == Filling::kAllLimit) q = limit;
    if (filling == Filling::kSignsOfLimit) q = engine() % 2 == 0 ? limit : -limit;
    if (filling == Filling::kLowestSlices) q = lowest;
  }
  for (int32_t& e : o.exponent)
    e = low_exponent + static_cast<int32_t>(engine() % static_cast<uint64_t>(high_exponent - low_exponent + 1));
  return o;
}

Floats definition(const Operand& a, const Operand& b, Products products) {
  Floats c(static_cast<size_t>(a.rows * b.rows));
  for (int64_t m = 0; m < a.rows; ++m) {
    for (int64_t n = 0; n < b.rows; ++n) {
      const int64_t s = test::kept_products(&a.q[static_cast<size_t>(m * a.columns)],
                                            &b.q[static_cast<size_t>(n * b.columns)], a.columns, products);
      c[static_cast<size_t>(m * b.rows + n)] =
          test::scaled_integer(s, a.exponent[static_cast<size_t>(m)] + b.exponent[static_cast<size_t>(n)] - 2 * a.bits);
    }
  }
  return c;
}

Floats product(const Quantised& a, const Quantised& b, Products products) {
  Floats c(static_cast<size_t>(a.rows() * b.rows()), -7.0f);
  exact_matmul(a, b, products, c.data(), b.rows());
  return c;
}

std::string describe(int64_t m, int64_t n, int64_t k, Products p) {
  return std::to_string(m) + " x " + std::to_string(n) + " x " + std::to_string(k) + ", " +
         (p == Products::kP3   ? "p3"
          : p == Products::kP4 ? "p4"
                               : "s21");
}

/// Every instruction set gives the definition's bits.
void expect_definition(const Operand& a, const Operand& b, Products p) {
  const Floats expected = definition(a, b, p);
  const Quantised qa = a.packed(), qb = b.packed();
  test::Machine restore;
  for (Isa isa : test::available_sets()) {
    set_isa(isa);
    EXPECT_TRUE(test::same_bits(expected, product(qa, qb, p)))
        << isa_name(isa) << ", " << describe(a.rows, b.rows, a.columns, p);
  }
}

TEST(ExactMatmul, EqualsTheDefinitionForSizesThatDivideNoTile) {
  for (Products p : kAllProducts) {
    for (int64_t m : {1, 3, 31, 48, 49}) {
      for (int64_t n : {1, 3, 31, 33, 48}) {
        for (int64_t k : {1, 2, 3, 4, 5, 63, 64, 65, 127}) {
          expect_definition(operand(m, k, p, Filling::kRandom, 1), operand(n, k, p, Filling::kRandom, 2), p);
          if (HasFailure()) return;
        }
      }
    }
  }
}

TEST(ExactMatmul, EqualsTheDefinitionForLongContractions) {
  for (Products p : kAllProducts) {
    for (int64_t k : {1023, 1024, 1025, 2048, 2049, 8192}) {
      expect_definition(operand(9, k, p, Filling::kRandom, 3), operand(34, k, p, Filling::kRandom, 4), p);
    }
  }
}

TEST(ExactMatmul, NoIntermediateOverflowsAtTheLimitsOfTheLongestContraction) {
  for (Products p : kAllProducts) {
    const int64_t longest = p == Products::kS21 ? kMaxContraction / 2 : kMaxContraction;
    for (int64_t k : {int64_t{1024}, int64_t{8192}, longest}) {
      for (Filling left : {Filling::kAllLimit, Filling::kSignsOfLimit, Filling::kLowestSlices}) {
        for (Filling right : {Filling::kAllLimit, Filling::kLowestSlices}) {
          Operand a = operand(k == longest ? 2 : 7, k, p, left, 5), b = operand(k == longest ? 2 : 5, k, p, right, 6);
          for (int64_t i = 0; i < k; ++i) b.q[static_cast<size_t>(k + i)] *= -1;  // and one row of the opposite sign
          expect_definition(a, b, p);
        }
      }
    }
  }
}

TEST(ExactMatmul, RoundsOnceIntoSubnormalsAndOverflowsToInfinity) {
  for (Products p : kAllProducts) {
    const std::pair<int, int> ranges[] = {{-100, -60}, {-100, -40}, {-75, -70}, {60, 129}, {120, 129}, {-100, 129}};
    for (auto [low, high] : ranges) {
      Operand a = operand(20, 70, p, Filling::kRandom, 7, low, high),
              b = operand(50, 70, p, Filling::kRandom, 8, low, high);
      expect_definition(a, b, p);
    }
  }
  // The ranges above do reach both ends.
  Operand a = operand(1, 64, Products::kP3, Filling::kAllLimit, 9, 129, 129);
  EXPECT_TRUE(std::isinf(definition(a, a, Products::kP3)[0]));
  Operand b = operand(1, 64, Products::kP3, Filling::kRandom, 9, -72, -72),
          c = operand(1, 64, Products::kP3, Filling::kRandom, 10, -72, -72);
  const float tiny = definition(b, c, Products::kP3)[0];
  EXPECT_TRUE(tiny != 0.0f && std::fpclassify(tiny) == FP_SUBNORMAL) << tiny;
}

TEST(ExactMatmul, RoundsTiesOfTheIntegerToEven) {
  // S just at, below and above halves of the 24th bit, in both signs.
  for (Products p : {Products::kP4, Products::kS21}) {
    const int bits = bits_of_products(p);
    const int64_t unit =
        p == Products::kS21 ? 128 : 1;  // s21 drops products below 2^14 = 128 * 128: keep both operands multiples
    for (int64_t odd = 0; odd < 40; ++odd) {
      Operand a{1, 3, bits, {0, 0, 0}, {0}}, b{2, 3, bits, {0, 0, 0, 0, 0, 0}, {0, 0}};
      // 8192 * 8192 = 2^26 puts the unit of the 24th bit at 2^3.
      a.q = {8192 * unit, (odd - 20) * unit, unit};
      b.q = {8192 * unit, unit, 0, -8192 * unit, unit, 0};
      expect_definition(a, b, p);
    }
  }
}

RC_GTEST_PROP(ExactMatmulProperty, EqualsTheDefinition, ()) {
  const auto p = *rc::gen::element(Products::kP3, Products::kP4, Products::kS21);
  const int64_t m = *rc::gen::inRange(1, 20), n = *rc::gen::inRange(1, 70), k = *rc::gen::inRange(1, 200);
  const auto seed = *rc::gen::arbitrary<uint32_t>();
  const auto filling = *rc::gen::element(Filling::kRandom, Filling::kSignsOfLimit);
  Operand a = operand(m, k, p, filling, seed, -100, 129), b = operand(n, k, p, Filling::kRandom, seed + 1u, -100, 129);
  const Floats expected = definition(a, b, p);
  const Quantised qa = a.packed(), qb = b.packed();
  test::Machine restore;
  for (Isa isa : test::available_sets()) {
    set_isa(isa);
    RC_ASSERT(test::same_bits(expected, product(qa, qb, p)));
  }
}

TEST(ExactMatmul, InstructionSetsAndThreadCountsChangeNoBit) {
  for (Products p : kAllProducts) {
    const int64_t m = 150, n = 130, k = 700;
    Quantised a, b;
    const Floats x = test::gaussian(static_cast<size_t>(m * k), 11),
                 y = test::student_t3(static_cast<size_t>(n * k), 12);
    ASSERT_TRUE(quantise_rows(x.data(), m, k, k, bits_of_products(p), a));
    ASSERT_TRUE(quantise_rows(y.data(), n, k, k, bits_of_products(p), b));
    const Floats first = product(a, b, p);
    test::on_every_machine(
        [&](const std::string& machine) { EXPECT_TRUE(test::same_bits(first, product(a, b, p))) << machine; });
  }
}

TEST(ExactMatmul, PermutingTheContractionChangesNoBit) {
  for (Products p : kAllProducts) {
    const int64_t m = 17, n = 40, k = 1500;
    const Operand a = operand(m, k, p, Filling::kRandom, 13), b = operand(n, k, p, Filling::kRandom, 14);
    std::vector<int64_t> order(static_cast<size_t>(k));
    std::iota(order.begin(), order.end(), int64_t{0});
    std::shuffle(order.begin(), order.end(), std::mt19937_64(15));
    auto permuted = [&](Operand o) {
      const std::vector<int64_t> q = o.q;
      for (int64_t r = 0; r < o.rows; ++r) {
        for (int64_t i = 0; i < k; ++i)
          o.q[static_cast<size_t>(r * k + i)] = q[static_cast<size_t>(r * k + order[static_cast<size_t>(i)])];
      }
      return o;
    };
    EXPECT_TRUE(
        test::same_bits(product(a.packed(), b.packed(), p), product(permuted(a).packed(), permuted(b).packed(), p)));
  }
}

TEST(ExactMatmul, SplittingTheRowsChangesNoBit) {
  const int64_t m = 101, n = 77, k = 300;
  const Floats x = test::gaussian(static_cast<size_t>(m * k), 16), y = test::gaussian(static_cast<size_t>(n * k), 17);
  for (Products p : kAllProducts) {
    const int bits = bits_of_products(p);
    Quantised a, b;
    ASSERT_TRUE(quantise_rows(x.data(), m, k, k, bits, a) && quantise_rows(y.data(), n, k, k, bits, b));
    const Floats whole = product(a, b, p);
    for (int64_t split : {1, 47, 48, 50, 100}) {
      Quantised top, bottom;
      ASSERT_TRUE(quantise_rows(x.data(), split, k, k, bits, top));
      ASSERT_TRUE(quantise_rows(x.data() + split * k, m - split, k, k, bits, bottom));
      Floats parts = product(top, b, p), rest = product(bottom, b, p);
      parts.insert(parts.end(), rest.begin(), rest.end());
      EXPECT_TRUE(test::same_bits(whole, parts)) << split;
    }
  }
}

TEST(ExactMatmul, WritesOnlyItsOwnColumnsOfAWiderResult) {
  const Operand a = operand(50, 40, Products::kP3, Filling::kRandom, 18),
                b = operand(35, 40, Products::kP3, Filling::kRandom, 19);
  const Floats expected = definition(a, b, Products::kP3);
  test::Machine restore;
  for (Isa isa : test::available_sets()) {
    set_isa(isa);
    Floats c(50 * 41, 123.0f);
    exact_matmul(a.packed(), b.packed(), Products::kP3, c.data(), 41);
    for (size_t r = 0; r < 50; ++r) {
      for (size_t j = 0; j < 41; ++j) {
        ASSERT_EQ(test::bits(c[r * 41 + j]), j < 35 ? test::bits(expected[r * 35 + j]) : test::bits(123.0f))
            << isa_name(isa) << " " << r << " " << j;
      }
    }
  }
}

TEST(ExactMatmulSelf, EqualsTheGeneralProductAndIsSymmetric) {
  for (Products p : kAllProducts) {
    for (int64_t m : {1, 2, 31, 32, 33, 63, 64, 65, 100, 130, 200}) {
      const Quantised a = operand(m, 90, p, Filling::kRandom, 20).packed();
      const Floats expected = product(a, a, p);
      test::on_every_machine([&](const std::string& machine) {
        Floats c(static_cast<size_t>(m * (m + 3)), 5.0f);
        exact_matmul_self(a, p, c.data(), m + 3);
        for (int64_t r = 0; r < m; ++r) {
          for (int64_t j = 0; j < m + 3; ++j) {
            const float got = c[static_cast<size_t>(r * (m + 3) + j)];
            ASSERT_EQ(test::bits(got), j < m ? test::bits(expected[static_cast<size_t>(r * m + j)]) : test::bits(5.0f))
                << machine << ", " << m;
          }
        }
      });
      if (HasFailure()) return;
    }
  }
}

TEST(ExactMatmulBatched, EqualsSeparateProducts) {
  for (Products p : kAllProducts) {
    for (int64_t count : {1, 2, 5}) {
      for (int64_t m : {1, 33, 50}) {
        const int64_t n = 37, k = 66;
        const Operand a = operand(count * m, k, p, Filling::kRandom, 21),
                      b = operand(count * n, k, p, Filling::kRandom, 22);
        Floats expected;
        for (int64_t i = 0; i < count; ++i) {
          auto part = [&](const Operand& o, int64_t rows) {
            return Operand{rows,
                           k,
                           o.bits,
                           {o.q.begin() + i * rows * k, o.q.begin() + (i + 1) * rows * k},
                           {o.exponent.begin() + i * rows, o.exponent.begin() + (i + 1) * rows}};
          };
          Floats c = definition(part(a, m), part(b, n), p);
          expected.insert(expected.end(), c.begin(), c.end());
        }
        const Quantised qa = a.packed(), qb = b.packed();
        test::on_every_machine([&](const std::string& machine) {
          Floats c(static_cast<size_t>(count * m * n));
          exact_matmul_batched(qa, qb, count, p, c.data());
          EXPECT_TRUE(test::same_bits(expected, c)) << machine << ", " << count << " of " << m;
        });
      }
    }
  }
}

// --- Error against binary64 -----------------------------------------------------------------------------------------

double error_of(const Floats& x, const Floats& y, int64_t m, int64_t n, int64_t k, Products p) {
  Quantised a, b;
  EXPECT_TRUE(quantise_rows(x.data(), m, k, k, bits_of_products(p), a));
  EXPECT_TRUE(quantise_rows(y.data(), n, k, k, bits_of_products(p), b));
  std::vector<double> reference(static_cast<size_t>(m * n));
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t c = 0; c < n; ++c) {
      double sum = 0.0;
      for (int64_t i = 0; i < k; ++i)
        sum += static_cast<double>(x[static_cast<size_t>(r * k + i)]) * y[static_cast<size_t>(c * k + i)];
      reference[static_cast<size_t>(r * n + c)] = sum;
    }
  }
  return test::relative_error(product(a, b, p), reference);
}

TEST(ExactMatmulAccuracy, ErrorsAreThoseOfTheDefinition) {
  struct Case {
    int64_t k;
    bool heavy_tails;
    Products products;
    double bound;
  };
  // The definition's figures, rounded up; with 21 bits the binary32 result itself is the limit for Gaussian operands.
  const Case cases[] = {{512, false, Products::kP3, 1.5e-4}, {8192, false, Products::kP3, 2.5e-4},
                        {512, false, Products::kP4, 1.1e-4}, {8192, false, Products::kP4, 1.6e-4},
                        {512, true, Products::kP3, 1.1e-3},  {8192, true, Products::kP3, 8e-3},
                        {512, true, Products::kP4, 3.5e-4},  {8192, true, Products::kP4, 1.0e-3},
                        {512, false, Products::kS21, 2e-6},  {8192, false, Products::kS21, 3e-6}};
  for (const Case& c : cases) {
    const int64_t m = 192, n = 192;
    const size_t size = static_cast<size_t>(m * c.k);
    const Floats x = c.heavy_tails ? test::student_t3(size, 30) : test::gaussian(size, 30);
    const Floats y = c.heavy_tails ? test::student_t3(size, 31) : test::gaussian(size, 31);
    const double error = error_of(x, y, m, n, c.k, c.products);
    std::printf("  %-24s %s %.2e\n", describe(m, n, c.k, c.products).c_str(),
                c.heavy_tails ? "Student t(3)" : "Gaussian    ", error);
    EXPECT_LE(error, c.bound) << describe(m, n, c.k, c.products);
  }
}

TEST(ExactMatmulAccuracy, OneOutlierColumnCostsFourteenBitsButNotTwentyOne) {
  const int64_t m = 256, k = 512;
  Floats x = test::gaussian(static_cast<size_t>(m * k), 32), y = test::gaussian(static_cast<size_t>(m * k), 33);
  for (int64_t r = 0; r < m; ++r) {
    x[static_cast<size_t>(r * k + 7)] *= 300.0f;
    y[static_cast<size_t>(r * k + 11)] *= 300.0f;
  }
  const double p3 = error_of(x, y, m, m, k, Products::kP3), s21 = error_of(x, y, m, m, k, Products::kS21);
  std::printf("  outlier column: p3 %.2e, s21 %.2e\n", p3, s21);
  EXPECT_LE(p3, 2.5e-2);
  EXPECT_LE(s21, 4e-4);
}

// --- oneDNN ---------------------------------------------------------------------------------------------------------

#ifdef FAIRWAY_HAVE_DNNL

/// C (M, N) = A (M, K) * B (N, K)^T by dnnl_gemm_s8s8s32.
std::vector<int32_t> dnnl_product(const int8_t* a, const int8_t* b, int64_t m, int64_t n, int64_t k, int64_t lda,
                                  int64_t ldb) {
  std::vector<int32_t> c(static_cast<size_t>(m * n));
  const int32_t zero = 0;
  EXPECT_EQ(dnnl_gemm_s8s8s32('N', 'T', 'F', m, n, k, 1.0f, a, lda, 0, b, ldb, 0, 0.0f, c.data(), n, &zero),
            dnnl_success);
  return c;
}

bool has_vnni() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

/// +127 x +127 and random slices: without VNNI oneDNN saturates silently.
bool dnnl_multiplies_exactly() {
  const int64_t k = 256, n = 64;
  std::vector<int8_t> a(static_cast<size_t>(n * k), 127), b = a;
  for (int32_t v : dnnl_product(a.data(), b.data(), n, n, k, k, k)) {
    if (v != 127 * 127 * k) return false;
  }
  std::mt19937_64 engine(40);
  for (int8_t& v : a) v = static_cast<int8_t>(static_cast<int>(engine() % 255) - 127);
  for (int8_t& v : b) v = static_cast<int8_t>(static_cast<int>(engine() % 255) - 127);
  const std::vector<int32_t> c = dnnl_product(a.data(), b.data(), n, n, k, k, k);
  for (int64_t r = 0; r < n; ++r) {
    for (int64_t j = 0; j < n; ++j) {
      int32_t sum = 0;
      for (int64_t i = 0; i < k; ++i) sum += a[static_cast<size_t>(r * k + i)] * b[static_cast<size_t>(j * k + i)];
      if (c[static_cast<size_t>(r * n + j)] != sum) return false;
    }
  }
  return true;
}

TEST(ExactMatmulOracle, AgreesWithThreeIntegerProductsOfOneDnn) {
  if (!has_vnni()) GTEST_SKIP() << "this CPU lacks AVX-512 VNNI, without which oneDNN saturates";
  ASSERT_TRUE(dnnl_multiplies_exactly()) << "the CPU reports VNNI, yet oneDNN's known answers are wrong";
  const int64_t m = 90, n = 70;
  for (int64_t k : {64, 512, 1000, 8192}) {
    for (Products p : {Products::kP3, Products::kP4}) {
      const Operand oa = operand(m, k, p, k == 512 ? Filling::kSignsOfLimit : Filling::kRandom, 41),
                    ob = operand(n, k, p, Filling::kRandom, 42);
      Quantised a = oa.packed(), b = ob.packed();
      auto part = [&](int i, int j) { return dnnl_product(a.plane(i), b.plane(j), m, n, k, a.stride(), b.stride()); };
      const std::vector<int32_t> hh = part(0, 0), hl = part(0, 1), lh = part(1, 0), ll = part(1, 1);
      Floats expected(static_cast<size_t>(m * n));
      for (size_t i = 0; i < expected.size(); ++i) {
        int64_t s = (int64_t{hh[i]} << 14) + (int64_t{hl[i]} + lh[i]) * 128 + (p == Products::kP4 ? ll[i] : 0);
        const size_t r = i / static_cast<size_t>(n), c = i % static_cast<size_t>(n);
        expected[i] = test::scaled_integer(s, oa.exponent[r] + ob.exponent[c] - 28);
      }
      EXPECT_TRUE(test::same_bits(expected, product(a, b, p))) << describe(m, n, k, p);
    }
  }
}

#else

TEST(ExactMatmulOracle, AgreesWithThreeIntegerProductsOfOneDnn) {
  GTEST_SKIP() << "built without oneDNN (libdnnl-dev)";
}

#endif

}  // namespace
}  // namespace fairway::kernels

/// The operations of a gated delta layer against their formulas in binary64, and what must not matter.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/model/ops/delta_gates.h"
#include "engine/model/ops/delta_rule.h"
#include "engine/model/ops/short_convolution.h"
#include "engine/model/ops/swish_gate.h"
#include "kernels/delta_rule.h"
#include "tests/engine/model/op_case.h"

namespace fairway::model {
namespace {

using test::Case;
using test::Doubles;
using test::Floats;

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }
double silu(double x) { return x * sigmoid(x); }

TEST(ShortConvolutionOp, ReadsThreeTokensBackWithinTheSequence) {
  constexpr int64_t n = 10, length = 7;
  Case c(3, length);
  const ValueId x = c.input(n), y = c.tape().add_value(n);
  c.tape().add_op(std::make_unique<ShortConvolution>(c.parameter({4, n}), x, y));
  c.run(y);
  c.expect(
      [](const std::vector<Doubles>& v) {
        Doubles out = v[0];
        for (size_t i = 0; i < out.size(); ++i) {
          double sum = 0;
          for (size_t back = 0; back <= std::min<size_t>(3, i / n % length); ++back) sum += v[1][(3 - back) * n + i % n] * v[0][i - back * n];
          out[i] = silu(sum);
        }
        return out;
      },
      2e-6);
  c.expect_same_bits_on_every_machine();
}

TEST(SwishGateOp, SharesItsScaleBetweenHeads) {
  constexpr int64_t heads = 3, m = 6;
  Case c(2, 5);
  const ValueId x = c.input(heads * m), g = c.input(heads * m), y = c.tape().add_value(heads * m);
  c.tape().add_op(std::make_unique<SwishGate>(c.parameter({m}), x, g, y));
  c.run(y);
  c.expect(
      [](const std::vector<Doubles>& v) {
        Doubles out = v[0];
        for (size_t i = 0; i < out.size(); ++i) out[i] *= v[2][i % m] * silu(v[1][i]);
        return out;
      },
      2e-6);
  c.expect_same_bits_on_every_machine();
}

/// The gates feed the rule, so that both are differentiated through one another.
TEST(DeltaRuleOp, FollowsTheRecurrenceOfItsFormula) {
  constexpr int64_t heads = 2, n = 3, m = 5;
  // 70 tokens: longer than the stretch whose states the backward pass computes again.
  for (int64_t length : {6, 70}) {
    Case c(length == 70 ? 1 : 2, length);
    const ValueId q = c.input(heads * n, 0.5f), k = c.input(heads * n, 0.4f), v = c.input(heads * m), a = c.input(heads), b = c.input(heads);
    const ValueId decay = c.tape().add_value(heads), beta = c.tape().add_value(heads), y = c.tape().add_value(heads * m);
    Parameter &a_log = c.parameter({heads}), &dt_bias = c.parameter({heads});
    c.tape().add_op(std::make_unique<DeltaGates>(a_log, dt_bias, a, b, decay, beta));
    c.tape().add_op(std::make_unique<DeltaRule>("delta", DeltaRule::Inputs{q, k, v, decay, beta}, y));
    c.run(y);
    c.expect(
        [=](const std::vector<Doubles>& in) {
          const size_t tokens = in[0].size() / (heads * n);
          Doubles out(tokens * heads * m);
          for (size_t h = 0; h < heads; ++h) {
            Doubles s(n * m);
            for (size_t t = 0; t < tokens; ++t) {
              if (t % static_cast<size_t>(length) == 0) s.assign(n * m, 0.0);
              const size_t row = t * heads + h;
              const double keep = std::exp(-std::exp(in[5][h]) * std::log1p(std::exp(in[3][row] + in[6][h]))), write = sigmoid(in[4][row]);
              for (double& x : s) x *= keep;
              for (size_t j = 0; j < m; ++j) {
                double read = 0;
                for (size_t i = 0; i < n; ++i) read += s[i * m + j] * in[1][row * n + i];
                for (size_t i = 0; i < n; ++i) s[i * m + j] += in[1][row * n + i] * write * (in[2][row * m + j] - read);
                for (size_t i = 0; i < n; ++i) out[row * m + j] += s[i * m + j] * in[0][row * n + i];
              }
            }
          }
          return out;
        },
        5e-6);
    c.expect_same_bits_on_every_machine();
  }
}

TEST(DeltaRule, APrefixAloneAndOtherSequencesChangeNoBit) {
  constexpr int64_t length = 130, heads = 3, n = 8, m = 12;
  const Floats q = test::gaussian(2 * length * heads * n, 1), k = test::gaussian(2 * length * heads * n, 2, 0.3f),
               v = test::gaussian(2 * length * heads * m, 3);
  Floats decay(2 * length * heads), beta(decay.size()), both(v.size()), part(v.size());
  for (size_t i = 0; i < decay.size(); ++i) {
    decay[i] = 0.9f + 0.001f * static_cast<float>(i % 97);
    beta[i] = 0.01f * static_cast<float>(i % 89);
  }
  ASSERT_TRUE(kernels::delta_rule({{2, length, heads, n, m}, q.data(), k.data(), v.data(), decay.data(), beta.data(), both.data()}));
  for (int64_t cut : {1, 63, 64, 65, 129}) {
    ASSERT_TRUE(kernels::delta_rule({{1, cut, heads, n, m}, q.data(), k.data(), v.data(), decay.data(), beta.data(), part.data()}));
    EXPECT_TRUE(std::equal(part.begin(), part.begin() + cut * heads * m, both.begin())) << cut;
  }
}

TEST(DeltaRule, ANotFiniteValueIsReported) {
  Floats q(4, 1.0f), k(4, 1.0f), v(4, 1.0f), gate(2, 0.5f), out(4);
  v[1] = INFINITY;
  EXPECT_FALSE(kernels::delta_rule({{1, 2, 1, 2, 2}, q.data(), k.data(), v.data(), gate.data(), gate.data(), out.data()}));
}

}  // namespace
}  // namespace fairway::model

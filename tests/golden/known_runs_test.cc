/// The worked examples and the four small training runs of kernels/NUMERICS.md, section 26, repeated bit for bit.
///
/// The expected values stand here and in the document; second_implementation.py computes the same ones.
/// A value that changes means that the definition of a result changed, which needs a new edition, or that this machine
/// computes something else.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "engine/base/sha256.h"
#include "engine/model/gpt.h"
#include "engine/model/initial_values.h"
#include "kernels/newton_schulz.h"
#include "engine/optim/optimizer.h"
#include "engine/quant/row_quantiser.h"
#include "kernels/accumulate.h"
#include "kernels/attention.h"
#include "kernels/fake_quantise.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/parallel.h"
#include "kernels/matmul.h"
#include "kernels/num/exact_sum.h"
#include "kernels/num/exp.h"
#include "kernels/num/log.h"
#include "kernels/num/philox.h"
#include "kernels/num/quantise.h"
#include "kernels/num/scalar64.h"
#include "kernels/num/tanh.h"
#include "kernels/num/trig.h"
#include "kernels/ops/adam.h"
#include "kernels/ops/attention.h"
#include "kernels/rows.h"

namespace fairway {
namespace {

using kernels::Products;

using Floats = std::vector<float>;

// --- Worked examples, 26.1 to 26.10 ---------------------------------------------------------------------------------

/// x of section 26.1.
const Floats kX{0.75f, -1.3f, 0.01f, 2.0f / 3.0f};

uint32_t largest_bits(const Floats& x) {
  uint32_t m = 0;
  for (float v : x) m = std::max(m, num::bits_of(v) & 0x7fffffffu);
  return m;
}

/// Bits, not values: the sign of a zero counts.
void expect_bits(const Floats& actual, const Floats& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    EXPECT_EQ(num::bits_of(actual[i]), num::bits_of(expected[i])) << "element " << i << ": " << actual[i];
  }
}

TEST(WorkedExamples, AGroupOfFour) {
  auto integers = [](int32_t bits) {
    const int32_t e = num::group_exponent(largest_bits(kX), bits);
    EXPECT_EQ(e, 1);
    std::vector<int32_t> q;
    for (float x : kX) {
      const float scale = num::quantiser_scale(e, bits);
      q.push_back(bits == 24 ? num::quantise24(x, scale) : num::quantise(x, scale));
    }
    return q;
  };
  EXPECT_EQ(integers(7), (std::vector<int32_t>{48, -83, 1, 43}));
  EXPECT_EQ(integers(14), (std::vector<int32_t>{6144, -10650, 82, 5461}));
  EXPECT_EQ(integers(21), (std::vector<int32_t>{786432, -1363149, 10486, 699051}));
  EXPECT_EQ(integers(24), (std::vector<int32_t>{6291456, -10905190, 83886, 5592406}));
  EXPECT_EQ(num::upper_part(-10650), -83);
  EXPECT_EQ(num::low_slice(-10650), -26);
  EXPECT_EQ(num::group_exponent(num::bits_of(0x1.fdfcp-1f), 14), 1);
  EXPECT_EQ(num::quantise(0x1.fdfcp-1f, num::quantiser_scale(1, 14)), 8160);
  EXPECT_EQ(num::group_exponent(num::bits_of(0x1.fdfbfep-1f), 14), 0);
  EXPECT_EQ(num::quantise(0x1.fdfbfep-1f, num::quantiser_scale(0, 14)), 16319);
}

TEST(WorkedExamples, AProductOfTwoByTwo) {
  const Floats a{0.75f, -1.3f, 0.01f, 2.0f / 3.0f, 1.0f, 2.0f, -3.0f, 0.1f};
  const Floats b{0.5f, 0.25f, -0.125f, 0.3f, 1e-3f, -2e-3f, 5e-4f, 7.7e-4f};
  auto product = [&](Products p) {
    kernels::Quantised qa, qb;
    EXPECT_TRUE(kernels::quantise_rows(a.data(), 2, 4, 4, kernels::bits_of_products(p), qa));
    EXPECT_TRUE(kernels::quantise_rows(b.data(), 2, 4, 4, kernels::bits_of_products(p), qb));
    Floats c(4);
    kernels::exact_matmul(qa, qb, p, c.data(), 2);
    return c;
  };
  expect_bits(product(Products::kP3), {0x1.fd678p-3f, 0x1.fb136p-9f, 0x1.67aeap+0f, -0x1.21df8p-8f});
  expect_bits(product(Products::kP4), {0x1.fd5efp-3f, 0x1.fb0e6ap-9f, 0x1.67afecp+0f, -0x1.21debcp-8f});
  expect_bits(product(Products::kS21), {0x1.fd70bp-3f, 0x1.fb07c2p-9f, 0x1.67ae1ap+0f, -0x1.21dd9p-8f});
}

TEST(WorkedExamples, RmsNormAndItsBackwardPass) {
  const Floats dy{0.1f, 0.2f, -0.3f, 0.4f};
  Floats y(4), dx(4), r(1), dot(1);
  ASSERT_TRUE(kernels::row_dot(kX.data(), kX.data(), 1, 4, dot.data()));
  ASSERT_TRUE(kernels::rms_norm(kX.data(), 1, 4, y.data(), r.data()));
  ASSERT_TRUE(kernels::rms_norm_backward(dy.data(), y.data(), r.data(), 1, 4, dx.data()));
  expect_bits(dot, {0x1.5938cp+1f});
  expect_bits(r, {0x1.37c392p+0f});
  expect_bits(y, {0x1.d3a55cp-1f, -0x1.954b0ap+0f, 0x1.8f0ecep-7f, 0x1.9faf6ep-1f});
  expect_bits(dx, {0x1.85b37p-4f, 0x1.28b276p-2f, -0x1.767b02p-2f, 0x1.da92b8p-2f});
}

TEST(WorkedExamples, RowsOfTwoTensorsAreNotJoined) {
  kernels::SumOfSquares apart, joined;
  ASSERT_TRUE(apart.add(Floats{1.0f, 2.0f}));
  ASSERT_TRUE(apart.add({}));
  ASSERT_TRUE(apart.add(Floats{0x1.002p-12f}));
  ASSERT_TRUE(joined.add(Floats{1.0f, 2.0f, 0x1.002p-12f}));
  EXPECT_EQ(apart.total(), 0x1.400000401p+2);
  EXPECT_EQ(joined.total(), 0x1.4000004p+2);
}

TEST(WorkedExamples, AnAttentionRowOfThreeKeys) {
  const Floats q{1.0f, 0.5f, -0.25f, 2.0f, 0.3f, -1.0f, 0.7f, 0.2f, 1.5f, -0.4f, 0.6f, -2.0f};
  const Floats k{0.5f, 1.0f, -1.0f, 0.25f, -0.3f, 0.8f, 0.1f, 1.1f, 0.9f, -0.7f, 0.2f, -1.2f};
  const Floats v{1.0f, 2.0f, -3.0f, 0.1f, 0.01f, 0.02f, 0.03f, -0.04f, 10.0f, -0.5f, 0.25f, 3.0f};
  const Floats dout{0.1f, -0.2f, 0.3f, 0.4f, -0.5f, 0.6f, 0.7f, -0.8f, 0.9f, 1.0f, -1.1f, 1.2f};
  Floats out(12), dq(12), dk(12), dv(12);
  std::vector<int32_t> max(3);
  std::vector<int64_t> units(3);
  const kernels::AttentionShape shape{1, 3, 1, 1, 4, Products::kP3};
  ASSERT_TRUE(kernels::attention_forward({shape, q.data(), k.data(), v.data(), out.data(), max.data(), units.data()}));
  ASSERT_TRUE(kernels::attention_backward(
      {shape, q.data(), k.data(), v.data(), dout.data(), max.data(), units.data(), dq.data(), dk.data(), dv.data()}));
  EXPECT_EQ(max[2], 2);
  EXPECT_EQ(units[2], 2384941660);
  expect_bits(Floats(out.begin() + 8, out.end()), {0x1.215296p+3f, -0x1.2be30cp-2f, -0x1.d8ba66p-8f, 0x1.590eep+1f});
  expect_bits(dq, {0.0f, 0.0f, 0.0f, 0.0f, -0x1.2bff2p-3f, -0x1.2be38p-5f, 0x1.9c768p-3f, 0x1.3eb88p-3f, 0x1.fe9a4p-3f,
                   -0x1.10d72p-1f, 0x1.e319cp-3f, -0x1.3527dp-1f});
  expect_bits(dk, {-0x1.537acp-2f, 0x1.0703p-2f, -0x1.e9148p-3f, 0x1.5422cp-2f, -0x1.50f68p-3f, -0x1.fe568p-4f,
                   0x1.4a9dp-5f, 0x1.51254p-2f, 0x1.fbfp-2f, -0x1.0ed1p-3f, 0x1.966fp-3f, -0x1.52ap-1f});
  expect_bits(dv, {-0x1.9accp-6f, 0x1.c694p-4f, 0x1.f32b8p-2f, 0x1.734d4p-3f, -0x1.206a6p-2f, 0x1.920bp-2f,
                   0x1.98156p-2f, -0x1.d3e7ep-2f, 0x1.9d0c6p-1f, 0x1.cafp-1f, -0x1.f8d3ap-1f, 0x1.13598p+0f});
}

TEST(WorkedExamples, AScoreFarBelowTheOthersStopsNothing) {
  const Floats q{-1.0f, 0.0f, 4096.0f, 0.0f}, v{1.0f, 2.0f, 3.0f, 4.0f};
  Floats k{-4096.0f, 0.0f, 0.5f, 0.0f}, out(4);
  std::vector<int32_t> max(2);
  std::vector<int64_t> units(2);
  const kernels::AttentionShape shape{1, 2, 1, 1, 2, Products::kP3};
  const kernels::AttentionForward call{shape, q.data(), k.data(), v.data(), out.data(), max.data(), units.data()};
  ASSERT_TRUE(kernels::attention_forward(call));
  EXPECT_EQ(max[1], 2089);
  expect_bits(Floats(out.begin() + 2, out.end()), {0x1.7ffc66p+1f, 0x1.fffb34p+1f});
  k[2] = -4096.0f;
  EXPECT_FALSE(kernels::attention_forward(call));
}

TEST(WorkedExamples, UnitsOfAProbabilityAreRoundedToNearestEven) {
  struct Case {
    float t;
    int32_t max;
    uint32_t units;
  };
  for (const Case& c : {Case{0x1.4p-10f, 8, 4197854}, Case{0x1.cp-10f, 8, 4199276}, Case{0.5f, 31, 1},
                        Case{0.0f, 31, 0}, Case{-0x1p-30f, 30, 1}, Case{-0x1p-30f, 31, 0}}) {
    EXPECT_EQ(ops::probability(c.t, c.max).units, c.units) << c.t << " below " << c.max;
  }
}

TEST(WorkedExamples, LossesOfThreeLogits) {
  const uint16_t target = 0;
  Floats nll(1), u{1.0f, -2.5f, 3.0f};
  ASSERT_TRUE(kernels::cross_entropy(u.data(), 1, 3, 0.0f, &target, nll.data(), true));
  expect_bits(nll, {0x1.10b4eap+1f});
  expect_bits(u, {-0x1.c32fep-1f, 0x1.d61dep-9f, 0x1.c159c2p-1f});
  u = {1.0f, -2.5f, 40.0f};
  ASSERT_TRUE(kernels::cross_entropy(u.data(), 1, 3, 30.0f, &target, nll.data(), true));
  expect_bits(nll, {0x1.91a2bp+4f});
  expect_bits(u, {-0x1.ff6e78p-1f, 0x1.a9f5c8p-42f, 0x1.f1a63p-3f});
}

TEST(WorkedExamples, APhiloxBlock) {
  const uint32_t word = model::tensor_word("tok_emb.weight");
  EXPECT_EQ(word, 0x6a5810d0u);
  const auto block = num::philox(1337, 0, word, 1);
  const uint32_t expected[4] = {0x96e0b59au, 0x3ad949ecu, 0x258863fdu, 0x2f0d4d1bu};
  Floats uniforms, normals, stored;
  for (uint64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(block.word[i], expected[i]);
    uniforms.push_back(num::uniform(1337, word, 1, i));
    normals.push_back(num::normal(1337, word, 1, i));
    stored.push_back(num::round_to_bf16(normals.back() * 0.005f));
  }
  expect_bits(uniforms, {0x1.2dc16ap-1f, 0x1.d6ca48p-3f, 0x1.2c4318p-3f, 0x1.786a68p-3f});
  expect_bits(normals, {0x1.098caep-3f, 0x1.05253ap+0f, 0x1.9568cp-1f, 0x1.cadf74p+0f});
  expect_bits(stored, {0x1.54p-11f, 0x1.4ep-8f, 0x1.04p-8f, 0x1.26p-7f});
}

TEST(WorkedExamples, AnAdamElement) {
  ops::AdamStep s;
  s.lr = 0.05f;
  s.beta1 = 0.9f;
  s.beta2 = 0.95f;
  s.rest1 = static_cast<float>(1.0 - 0.9);
  s.rest2 = static_cast<float>(1.0 - 0.95);
  s.correction1 = static_cast<float>(1.0 - num::pow_int_64(0.9, 3));
  s.correction2 = static_cast<float>(1.0 - num::pow_int_64(0.95, 3));
  s.eps = 1e-8f;
  auto step = [&](bool bf16, float m, float v) {
    float w = 0.25f;
    ops::adam_element(0.0123f, bf16, s, m, v, w);
    return Floats{m, v, w};
  };
  expect_bits({s.correction1, s.correction2}, {0x1.158106p-2f, 0x1.241894p-3f});
  expect_bits(step(false, 0.001f, 1e-5f), {0x1.172efp-9f, 0x1.1e4b78p-16f, 0x1.b66b78p-3f});
  expect_bits(step(true, 0x1p-10f, 0x1p-17f), {0x1.14p-9f, 0x1.f2p-17f, 0x1.b2p-3f});
}

TEST(WorkedExamples, Functions) {
  expect_bits(
      {num::exp(1.0f), num::exp(-100.0f), num::log(3.0f), num::tanh(0.5f), num::tanh(-1.0f), num::exp2_unit(0.5f)},
      {0x1.5bf0a8p+1f, 0x1.bp-145f, 0x1.193ea8p+0f, 0x1.d9353ep-2f, -0x1.85efacp-1f, 0x1.6a09e6p+0f});
  const auto angle = num::sin_cos(100.0f);
  expect_bits({angle.sin, angle.cos}, {-0x1.03425cp-1f, 0x1.b981dcp-1f});
  EXPECT_EQ(num::log2_64(10000.0), 0x1.a934f0979a371p+3);
  EXPECT_EQ(num::exp2_64(-0.7), 0x1.3b2c47bff8329p-1);
  EXPECT_EQ(num::pow_64(10000.0, -6.0 / 64.0), 0x1.afd1354c40d5p-2);
}

TEST(WorkedExamples, QuantilesAndQuantisedRows) {
  EXPECT_EQ(quant::absolute_quantile(kX, quant::kExportQuantile), 0x1.4cccap+0f);
  auto six = quant::quantise_rows("x", kX, 1, 4, 31, quant::kExportQuantile);
  auto eight = quant::quantise_rows("x", kX, 1, 4, 127, quant::kExportQuantile);
  ASSERT_TRUE(six && eight);
  EXPECT_EQ(six->integers, (std::vector<int8_t>{18, -31, 0, 16}));
  EXPECT_EQ(six->scale_bits[0], 0x295e);
  EXPECT_EQ(eight->integers, (std::vector<int8_t>{73, -127, 1, 65}));
  EXPECT_EQ(eight->scale_bits[0], 0x213e);
  Floats seen(4);
  ASSERT_TRUE(kernels::fake_quantise_rows(kX.data(), 1, 4, ops::FakeForm::kInt6Row, seen.data()));
  expect_bits(seen, {0x1.82p-1f, -0x1.4cp+0f, 0.0f, 0x1.56p-1f});
}

TEST(WorkedExamples, NewtonSchulz) {
  const Floats m{1.0f, 2.0f, -1.0f, 0.5f, 0.25f, 3.0f};
  kernels::SumOfSquares squares;
  ASSERT_TRUE(squares.add(m));
  EXPECT_EQ(squares.total(), 0x1.eap+3);
  auto orthogonal = [&](Products p) {
    Floats u = m;
    kernels::NewtonSchulzScratch scratch;
    EXPECT_TRUE(kernels::newton_schulz(u.data(), 1, 2, 3, 5, p, scratch));
    return u;
  };
  expect_bits(orthogonal(Products::kS21),
              {0x1.37188p-2f, 0x1.3e778p-1f, -0x1.7be66p-2f, 0x1.3a2bb8p-3f, 0x1.88702p-5f, 0x1.0e06e2p+0f});
  expect_bits(orthogonal(Products::kP4),
              {0x1.3716f8p-2f, 0x1.3e7968p-1f, -0x1.7b7552p-2f, 0x1.3aa2cp-3f, 0x1.88c4cp-5f, 0x1.0e196ap+0f});
}

// --- Whole runs, 26.11 ----------------------------------------------------------------------------------------------

/// One column of the table of section 26.11.
struct KnownRun {
  std::string name;
  model::ModelConfig model;
  optim::OptimizerConfig optimizer;
  int64_t length, sequences, chunks, steps;
  uint64_t seed;
  std::vector<std::string> steps_expected;  ///< "NAME STEP: LOSS UNITS  DIGEST OF THE PARAMETERS"
  std::string state_expected;               ///< "NAME state: DIGEST OF MOMENTA AND FIRST MOMENTS"
  std::string evaluation_expected;          ///< "NAME: LOSS UNITS  DIGEST OF THE NLL VALUES"
};

KnownRun run_a() {
  KnownRun r{"A",
             {},
             {},
             70,
             2,
             2,
             3,
             1337,
             {"A 0: 46662173856  9d62d62e51c19acae55e7ac2d4328441c44aab83c8c32eba1bf5fea9b6c4e738",
              "A 1: 43793462816  c4063a89c4a6436f76a63fe7185232634611728bc152ea39beb6d838b7e6072e",
              "A 2: 41619560368  171e033eb14bde10f3e793c9bfdf8fb6bf8665de2635eab695689760e9bb44cd"},
             "A state: 79ae4a47c72f01342c90cde0ad3d61d404396aaf9d7bc73a06659ecd05fa1d94",
             "A: 9898535184  2be02cb12e73219bcdec1970a45318b213840251763c9aac6b9ee4c86c554537"};
  r.model.vocab_size = 12;
  r.model.layers = 3;
  r.model.width = 8;
  r.model.heads = 2;
  r.model.kv_heads = 1;
  r.model.mlp_hidden = 12;
  return r;
}

KnownRun run_b() {
  KnownRun r{"B",
             {},
             {},
             9,
             2,
             3,
             3,
             99,
             {"B 0: 11379145783  771ccfc0b12d5350d4656fbc81d00d74e634b8f4bb7994682277c97e467fbc4d",
              "B 1: 9242074779  5531e05e4af374588d84ab976498d976397ee4cc3e491063f7a06af9b24c5565",
              "B 2: 8160004932  f43c179d8b3204774366d8fa80d2e3e30263935847992c87f27cc8966312c99e"},
             "B state: ce940dab857680f8349c4d77bd2af04fab099290f11cfb514dddc0d6771af4f1",
             "B: 1549898608  cab034afee03fa234c58b11a78503c0c42079383193119aed6a6109eef1bb9d0"};
  r.model.vocab_size = 12;
  r.model.layers = 5;
  r.model.width = 12;
  r.model.heads = 3;
  r.model.kv_heads = 3;
  r.model.mlp_hidden = 20;
  r.model.rope_bf16_frequencies = true;
  r.model.logit_softcap = 15.0f;
  r.model.embed_init_std = 0.3f;
  r.model.qat = model::Qat::kInt6Row;
  r.model.linear = Products::kP4;
  r.model.dgrad = Products::kS21;
  r.model.wgrad = Products::kP4;
  r.model.head = Products::kS21;
  r.model.attention = Products::kP4;
  r.optimizer.grad_clip_norm = 0.05;
  r.optimizer.momentum.warmup_steps = 2;
  return r;
}

KnownRun run_c() {
  KnownRun r{"C",
             {},
             {},
             5,
             1,
             1,
             2,
             7,
             {"C 0: 3291847179  b2f7a2717ff8a71aee1cebbbb9741cc695f8e8ef27f143613c5016f73d461838",
              "C 1: 3805143765  c64fde38094329d48a44525626ea6513284b885383c3120e2fae932c4ee04e35"},
             "C state: 1a07d947ded56a33571ed2f6481d092c45b50bff5e474b25e5a4a9e3648f5392",
             "C: 4041995200  e69c478b65524542eca0bf7731b4364634a1abef43324707576bc9c7f45f52c3"};
  r.model.vocab_size = 12;
  r.model.layers = 1;
  r.model.width = 8;
  r.model.heads = 2;
  r.model.kv_heads = 2;
  r.model.mlp_hidden = 40;
  r.model.logit_softcap = 0.0f;
  r.model.embed_init_std = 2.0f;
  r.model.attention = Products::kS21;
  r.optimizer.momentum.warmup_steps = 0;
  r.optimizer.newton_schulz_steps = 3;
  r.optimizer.newton_schulz = Products::kP4;
  return r;
}

KnownRun run_d() {
  KnownRun r{"D",
             {},
             {},
             67,
             1,
             2,
             3,
             4242,
             {"D 0: 121099267126  48fa693bf76fec5f9327487542998d8b726e249e2dfe93abbfc8d054918ea171",
              "D 1: 135612845775  1cb0eed556904a0b745aeaeff5963f706543d0e2afece54f0f84ae8ea46a5f02",
              "D 2: 122310998064  ede7ecb30e47d6fe9c3d084bbe68392e432d0f4c8ba7fbea74dfd2f185877069"},
             "D state: 6c2d08efef35d58aa5f694574d9f32f154939782545c90a9f21210e9c98aa0d1",
             "D: 43841218784  09297e11ae2baebe0a1d56b7abd58cb7e7296a3bbb42a64403f79646206bc7dd"};
  r.model.vocab_size = 14;
  r.model.layers = 2;
  r.model.width = 24;
  r.model.heads = 4;
  r.model.kv_heads = 2;
  r.model.mlp_hidden = 18;
  r.model.rope_base = 500.0;
  r.model.logit_softcap = 20.0f;
  r.model.embed_init_std = 1.0f;
  r.model.qk_gain_init = 60.0f;
  r.model.linear = Products::kS21;
  r.model.dgrad = Products::kP4;
  r.model.wgrad = Products::kS21;
  r.model.head = Products::kP4;
  r.optimizer.grad_clip_norm = 1.0;
  r.optimizer.momentum.warmup_steps = 3;
  r.optimizer.newton_schulz_steps = 4;
  return r;
}

int64_t loss_units(model::Tape& tape) {
  int64_t sum = 0;
  for (size_t i = 0; i < tape.nll().size(); ++i) sum += num::loss_units(tape.nll()[i]);
  return sum;
}

std::string parameters_digest(model::Gpt& gpt) {
  Sha256 digest;
  for (auto& p : gpt.parameters()) digest.update(p->values().data(), p->values().size_bytes());
  return hex(digest.finish());
}

/// Momentum or first moment of every parameter. Updates are rounded to bfloat16 on their way into a parameter, so a
/// small change in a gradient may show here and not in the parameters.
std::string state_digest(optim::Optimizer& optimizer) {
  Sha256 digest;
  for (const optim::StateTensor& s : optimizer.state()) {
    if (!s.name.ends_with(".adam_v")) digest.update(s.values.data(), s.values.size_bytes());
  }
  return hex(digest.finish());
}

/// The forward and backward pass of one chunk; its loss units.
int64_t train_chunk(const KnownRun& r, model::Gpt& gpt, int64_t chunk) {
  std::vector<uint16_t> inputs, targets;
  for (int64_t b = 0; b < r.sequences; ++b) {
    auto token = [&](int64_t t) {
      return static_cast<uint16_t>(((chunk * r.sequences + b) * 7919 + 31 * t + 5 * t * t) % r.model.vocab_size);
    };
    for (int64_t t = 0; t < r.length; ++t) {
      inputs.push_back(token(t));
      targets.push_back(token(t + 1));
    }
  }
  model::Batch batch;
  batch.sequences = r.sequences;
  batch.length = r.length;
  batch.inputs = inputs;
  batch.targets = targets;
  batch.training = true;
  batch.term_limit = kernels::term_limit(r.length * r.sequences * r.chunks);
  batch.chunk_term_limit = kernels::term_limit(r.chunks);
  Status status = gpt.tape().forward(batch);
  EXPECT_TRUE(status) << status.error().what;
  const int64_t units = loss_units(gpt.tape());
  status = gpt.tape().backward();
  EXPECT_TRUE(status) << status.error().what;
  return units;
}

/// One evaluation of a single sequence.
std::string evaluation_line(const KnownRun& r, model::Gpt& gpt) {
  std::vector<uint16_t> tokens;
  for (int64_t t = 0; t <= r.length; ++t) tokens.push_back(static_cast<uint16_t>((3 * t * t + t) % r.model.vocab_size));
  model::Batch batch;
  batch.sequences = 1;
  batch.length = r.length;
  batch.inputs = std::span(tokens).first(static_cast<size_t>(r.length));
  batch.targets = std::span(tokens).last(static_cast<size_t>(r.length));
  const Status status = gpt.tape().forward(batch);
  EXPECT_TRUE(status) << status.error().what;
  Sha256 digest;
  digest.update(gpt.tape().nll().data(), gpt.tape().nll().size() * sizeof(float));
  return r.name + ": " + std::to_string(loss_units(gpt.tape())) + "  " + hex(digest.finish());
}

void expect_known(const KnownRun& r, const std::string& machine) {
  SCOPED_TRACE("run " + r.name + " on " + machine);
  model::Gpt gpt(r.model);
  gpt.initialise(r.seed);
  optim::Optimizer optimizer(r.optimizer, gpt);
  ASSERT_EQ(static_cast<size_t>(r.steps), r.steps_expected.size());
  for (int64_t step = 0; step < r.steps; ++step) {
    for (auto& p : gpt.parameters()) p->clear_gradient();
    int64_t units = 0;
    for (int64_t c = 0; c < r.chunks; ++c) units += train_chunk(r, gpt, step * r.chunks + c);
    const double multiplier = 1.0 - 0.25 * static_cast<double>(step);
    const Status status = optimizer.step(step, multiplier, r.length * r.sequences * r.chunks);
    ASSERT_TRUE(status) << status.error().what;
    EXPECT_EQ(r.name + " " + std::to_string(step) + ": " + std::to_string(units) + "  " + parameters_digest(gpt),
              r.steps_expected[static_cast<size_t>(step)]);
  }
  EXPECT_EQ(r.name + " state: " + state_digest(optimizer), r.state_expected);
  EXPECT_EQ(evaluation_line(r, gpt), r.evaluation_expected);
}

/// The run under every instruction set of this machine with one thread, and under the widest with three.
void expect_known_on_every_machine(const KnownRun& r) {
  const kernels::Isa isa = kernels::active_isa();
  const int threads = kernels::thread_count();
  kernels::set_thread_count(1);
  for (kernels::Isa i : {kernels::Isa::kPortable, kernels::Isa::kAvx2, kernels::Isa::kAvx512}) {
    if (!kernels::isa_available(i)) continue;
    kernels::set_isa(i);
    expect_known(r, kernels::isa_name(i) + ", 1 thread");
  }
  kernels::set_thread_count(3);
  expect_known(r, kernels::isa_name(kernels::active_isa()) + ", 3 threads");
  kernels::set_isa(isa);
  kernels::set_thread_count(threads);
}

TEST(KnownRuns, RunAWithTheDefaultProductsHasTheRecordedBitsOnEveryMachine) { expect_known_on_every_machine(run_a()); }

TEST(KnownRuns, RunBWithFakeQuantisationAndClippingHasTheRecordedBitsOnEveryMachine) {
  expect_known_on_every_machine(run_b());
}

TEST(KnownRuns, RunCWithoutACapHasTheRecordedBitsOnEveryMachine) { expect_known_on_every_machine(run_c()); }

TEST(KnownRuns, RunDWithSharedKeyHeadsAndScoresFarApartHasTheRecordedBitsOnEveryMachine) {
  expect_known_on_every_machine(run_d());
}

TEST(KnownRuns, TheDocumentStatesTheSameLines) {
  std::ifstream file(FAIRWAY_SOURCE_DIR "/kernels/NUMERICS.md");
  ASSERT_TRUE(file) << "kernels/NUMERICS.md cannot be read";
  std::stringstream document;
  document << file.rdbuf();
  for (const KnownRun& r : {run_a(), run_b(), run_c(), run_d()}) {
    std::vector<std::string> lines = r.steps_expected;
    lines.push_back(r.state_expected);
    lines.push_back(r.evaluation_expected);
    for (const std::string& line : lines) {
      EXPECT_NE(document.str().find("\n    " + line + "\n"), std::string::npos) << "not in NUMERICS.md: " << line;
    }
  }
}

}  // namespace
}  // namespace fairway

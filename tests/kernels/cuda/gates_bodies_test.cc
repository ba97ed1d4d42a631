// Gates, exclusive attention and fake quantisation under a simulated grid: the CPU's bits.
#include <gtest/gtest.h>

#include "../support.h"
#include "kernels/cuda/bodies/gates.h"
#include "kernels/exclusive_attention.h"
#include "kernels/fake_quantise.h"
#include "kernels/gates.h"
#include "kernels/quantile.h"
#include "kernels/smear.h"
#include "simulated_launch.h"

namespace fairway::cuda {
namespace {

using test::Floats;
using test::launch;
using test::launch_elements;
using test::Simulation;

TEST(DeviceGates, SmearAndHeadGatesGiveTheBitsOfTheCpu) {
  constexpr int64_t kTokens = 15, kLength = 5, n = 37, count = kTokens * n;
  const Floats x = test::student_t3(count, 1), dy = test::gaussian(count, 2), z = test::student_t3(n, 3);
  Simulation sim(4);
  const float *in = sim.input(x), *gradient = sim.input(dy), *gates = sim.input(z);
  Floats s(n), rest(n), es(n), erest(n), got(count), expected(count);
  const auto same = [&](const char* name, const auto& element) {
    float* out = got.data();
    launch_elements(sim, count, element(out));
    EXPECT_TRUE(test::same_bits(expected, got)) << name;
  };
  launch_elements(sim, n, SigmoidGates{gates, sim.output(s), sim.output(rest)});
  kernels::sigmoid_gates(z.data(), n, es.data(), erest.data());
  EXPECT_TRUE(test::same_bits(es, s) && test::same_bits(erest, rest));
  sim.output(got);
  kernels::smear_channels(in, es.data(), erest.data(), kTokens, kLength, n, expected.data());
  same("smear", [&](float* out) { return SmearChannels<false>{in, s.data(), rest.data(), kLength, n, out}; });
  kernels::smear_channels_backward(gradient, es.data(), erest.data(), kTokens, kLength, n, expected.data());
  same("smear backward",
       [&](float* out) { return SmearChannels<true>{gradient, s.data(), rest.data(), kLength, n, out}; });
  for (bool raises : {false, true}) {
    kernels::smear_gate_terms(gradient, in, es.data(), raises, kTokens, kLength, n, expected.data());
    same("gate terms", [&](float* out) { return SmearGateTerms{gradient, in, s.data(), raises, kLength, n, out}; });
  }
  kernels::head_gates(in, z.data(), kTokens, n, expected.data());
  same("head gates", [&](float* out) { return HeadGates{in, gates, n, out}; });
  kernels::sigmoid_gates_backward(in, count, expected.data());
  same("sigmoid backward", [&](float* out) { return SigmoidGradient{in, out}; });
}

TEST(DeviceGates, TheGateOfATokenGivesTheBitsOfTheCpu) {
  for (auto [tokens, length, n] : {std::array<int64_t, 3>{1, 1, 12}, {15, 5, 37}, {20, 20, 128}}) {
    const size_t count = static_cast<size_t>(tokens * n), rows = static_cast<size_t>(tokens);
    const Floats x = test::student_t3(count, 15), dy = test::gaussian(count, 16), w = test::gaussian(12, 17),
                 b = test::gaussian(1, 18);
    Floats gate(rows), y(count), dz(rows), terms(rows * 12), dx(count);
    Floats egate = gate, ey = y, edz = dz, eterms = terms, edx = dx;
    ASSERT_TRUE(kernels::smear_tokens(x.data(), w.data(), b[0], tokens, length, n, egate.data(), ey.data()));
    ASSERT_TRUE(kernels::smear_tokens_backward(dy.data(), x.data(), w.data(), egate.data(), tokens, length, n,
                                               edz.data(), eterms.data(), edx.data()));
    std::vector<uint32_t> failure(1, 0);
    Simulation s(19);
    uint32_t* flag = s.inout(failure);
    const float *in = s.input(x), *weights = s.input(w);
    launch(s, WarpRows<SmearTokens>{tokens, {in, weights, s.input(b), length, n, s.output(gate), s.output(y), flag}});
    EXPECT_TRUE(test::same_bits(egate, gate) && test::same_bits(ey, y)) << tokens;
    launch(s, WarpRows<SmearTokensBackward>{tokens,
                                            {s.input(dy), in, weights, gate.data(), length, n, s.output(dz),
                                             s.output(terms), s.output(dx), flag}});
    EXPECT_TRUE(test::same_bits(edz, dz) && test::same_bits(eterms, terms)) << tokens;
    EXPECT_TRUE(test::same_bits(edx, dx)) << tokens;
    EXPECT_EQ(failure[0], 0u);
  }
}

TEST(DeviceGates, ExclusiveAttentionGivesTheBitsOfTheCpu) {
  for (auto [tokens, heads, kv_heads, n] :
       {std::array<int64_t, 4>{1, 1, 1, 1}, {7, 4, 2, 64}, {5, 6, 1, 33}, {3, 2, 2, 100}}) {
    const kernels::ExclusiveShape shape{tokens, heads, kv_heads, n};
    const size_t of_queries = static_cast<size_t>(tokens * heads * n),
                 of_keys = static_cast<size_t>(tokens * kv_heads * n);
    const Floats o = test::student_t3(of_queries, 5), dy = test::gaussian(of_queries, 6, 0x1p-20f);
    Floats v = test::gaussian(of_keys, 7);
    std::fill_n(v.begin(), n, tokens > 1 ? 0.0f : 1e-20f);  // a norm that is clamped
    Floats unit(of_keys), norm(static_cast<size_t>(tokens * kv_heads)), along(static_cast<size_t>(tokens * heads)),
        y(of_queries), d_o(of_queries), dv(of_keys);
    Floats eunit = unit, enorm = norm, ealong = along, ey = y, ed_o = d_o, edv = dv;
    ASSERT_TRUE(
        kernels::exclude_value(shape, o.data(), v.data(), eunit.data(), enorm.data(), ealong.data(), ey.data()));
    ASSERT_TRUE(kernels::exclude_value_backward(shape, dy.data(), o.data(), eunit.data(), enorm.data(), ealong.data(),
                                                ed_o.data(), edv.data()));
    std::vector<uint32_t> failure(1, 0);
    Simulation s(8);
    uint32_t* flag = s.inout(failure);
    const float* in = s.input(o);
    launch(s, WarpRows<ExcludeValue>{tokens * kv_heads,
                                     {in, s.input(v), heads / kv_heads, n, s.output(unit), s.output(norm),
                                      s.output(along), s.output(y), flag}});
    EXPECT_TRUE(test::same_bits(eunit, unit) && test::same_bits(enorm, norm) && test::same_bits(ealong, along) &&
                test::same_bits(ey, y));
    launch(s, WarpRows<ExcludeValueBackward>{tokens * kv_heads,
                                             {s.input(dy), in, unit.data(), norm.data(), along.data(), heads / kv_heads,
                                              n, s.output(d_o), s.output(dv), flag}});
    EXPECT_TRUE(test::same_bits(ed_o, d_o)) << "d_o";
    EXPECT_TRUE(test::same_bits(edv, dv)) << "dv";
    EXPECT_EQ(failure[0], 0u);
  }
}

TEST(DeviceGates, WhatIsNotFiniteIsReported) {
  for (size_t bad : {size_t{0}, size_t{39}}) {
    Floats o = test::gaussian(40, 9), v = test::gaussian(40, 10), unit(40), norm(2), along(2), y(40), out(40);
    (bad == 0 ? o : v)[bad] = num::float_of(0x7fc00000u);
    std::vector<uint32_t> failure(1, 0);
    Simulation s(11);
    uint32_t* flag = s.inout(failure);
    launch(s,
           WarpRows<ExcludeValue>{
               2, {s.input(o), s.input(v), 1, 20, s.output(unit), s.output(norm), s.output(along), s.output(y), flag}});
    EXPECT_EQ(failure[0], static_cast<uint32_t>(kNotFinite));
    failure[0] = 0;
    launch(s, WarpRows<FakeQuantiseRows>{2,
                                         {bad == 0 ? o.data() : v.data(), 20, ops::FakeForm::kInt8Row,
                                          kernels::weight_of_largest(ops::kExportQuantile, 20), s.output(out), flag}});
    EXPECT_EQ(failure[0], static_cast<uint32_t>(kNotFinite));
  }
}

TEST(DeviceGates, FakeQuantisationGivesTheBitsOfTheCpu) {
  for (auto [rows, n] : {std::array<int64_t, 2>{1, 1}, {3, 2}, {9, 70}, {10, 512}, {2, 5000}}) {
    Floats w = test::student_t3(static_cast<size_t>(rows * n), 12), out(w.size()), expected(w.size());
    if (rows > 1) std::fill_n(w.begin(), n, 0.0f);
    if (rows > 2) std::fill_n(w.begin() + n, n, 0x1.8p-140f);
    if (rows > 3) w[static_cast<size_t>(2 * n)] = w[static_cast<size_t>(3 * n - 1)] = -1e9f;  // the largest twice
    for (float& x : std::span(w).last(static_cast<size_t>(n))) x *= 0x1p-8f;                  // below every floor
    for (auto form : {ops::FakeForm::kInt6Row, ops::FakeForm::kInt6RowMax, ops::FakeForm::kInt8Row}) {
      std::vector<uint32_t> failure(1, 0);
      Simulation s(13);
      launch(s, WarpRows<FakeQuantiseRows>{rows,
                                           {s.input(w), n, form, kernels::weight_of_largest(ops::kExportQuantile, n),
                                            s.output(out), s.inout(failure)}});
      ASSERT_TRUE(kernels::fake_quantise_rows(w.data(), rows, n, form, expected.data()));
      EXPECT_TRUE(test::same_bits(expected, out)) << rows << " x " << n << " form " << static_cast<int>(form);
      EXPECT_EQ(failure[0], 0u);
    }
  }
}

TEST(DeviceGates, AWeightThatIsInfiniteInBfloat16IsReported) {
  Floats w(40, 1.0f), out(40);
  w[33] = 0x1.fffffep+127f;
  for (auto form : {ops::FakeForm::kInt6Row, ops::FakeForm::kInt8Row}) {
    std::vector<uint32_t> failure(1, 0);
    Simulation s(14);
    launch(s, WarpRows<FakeQuantiseRows>{1,
                                         {s.input(w), 40, form, kernels::weight_of_largest(ops::kExportQuantile, 40),
                                          s.output(out), s.inout(failure)}});
    const bool usable = kernels::fake_quantise_rows(w.data(), 1, 40, form, out.data());
    EXPECT_EQ(usable, form == ops::FakeForm::kInt8Row);
    EXPECT_EQ(failure[0], usable ? 0u : static_cast<uint32_t>(kNotFinite));
  }
}

}  // namespace
}  // namespace fairway::cuda

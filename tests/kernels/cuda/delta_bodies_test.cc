// Gated delta layers under a simulated grid: the CPU's bits.
#include <gtest/gtest.h>

#include "../support.h"
#include "kernels/cuda/bodies/delta_rule.h"
#include "simulated_launch.h"

namespace fairway::cuda {
namespace {

using test::Floats;
using test::launch;
using test::launch_elements;
using test::Simulation;

/// Inputs of a delta rule and its gradient.
struct Case {
  kernels::DeltaShape shape;
  Floats q, k, v, decay, beta, dout;

  explicit Case(const kernels::DeltaShape& s) : shape(s) {
    q = test::gaussian(keys(), 1);
    k = test::gaussian(keys(), 2, 0.4f);
    v = test::student_t3(values(), 3);
    decay = test::gaussian(scalars(), 4, 0.05f);
    for (float& x : decay) x += 0.9f;
    beta = test::gaussian(scalars(), 5, 0.2f);
    dout = test::gaussian(values(), 6);
  }
  size_t scalars() const { return static_cast<size_t>(shape.sequences * shape.length * shape.heads); }
  size_t keys() const { return scalars() * static_cast<size_t>(shape.key_dim); }
  size_t values() const { return scalars() * static_cast<size_t>(shape.value_dim); }
};

/// One and several spans of kept states, a last span of one token, more columns than threads.
const kernels::DeltaShape kShapes[] = {{1, 1, 1, 1, 1}, {2, 6, 2, 3, 5}, {1, 65, 1, 2, 3}, {1, 3, 1, 2, 300}};

TEST(DeviceDelta, TheStateAndItsGradientsGiveTheBitsOfTheCpu) {
  for (const kernels::DeltaShape& shape : kShapes) {
    const Case c(shape);
    Floats out(c.values()), dq(c.keys()), dk(c.keys()), dv(c.values()), ddecay(c.scalars()), dbeta(c.scalars());
    Floats eout = out, edq = dq, edk = dk, edv = dv, eddecay = ddecay, edbeta = dbeta;
    ASSERT_TRUE(
        kernels::delta_rule({shape, c.q.data(), c.k.data(), c.v.data(), c.decay.data(), c.beta.data(), eout.data()}));
    ASSERT_TRUE(kernels::delta_rule_backward({shape, c.q.data(), c.k.data(), c.v.data(), c.decay.data(), c.beta.data(),
                                              c.dout.data(), edq.data(), edk.data(), edv.data(), eddecay.data(),
                                              edbeta.data()}));
    std::vector<uint32_t> failure(1, 0);
    Simulation s(7);
    uint32_t* flag = s.inout(failure);
    const float *q = s.input(c.q), *k = s.input(c.k), *v = s.input(c.v), *decay = s.input(c.decay),
                *beta = s.input(c.beta);
    const int64_t blocks = shape.sequences * shape.heads;
    Floats states(static_cast<size_t>(blocks * shape.key_dim * shape.value_dim)),
        memory(static_cast<size_t>(blocks * DeltaRuleBackward::floats(shape)));
    launch(s, DeltaRule{{shape, q, k, v, decay, beta, s.output(out)}, s.output(states), flag});
    EXPECT_TRUE(test::same_bits(eout, out)) << shape.length << " tokens";
    launch(s, DeltaRuleBackward{{shape, q, k, v, decay, beta, s.input(c.dout), s.output(dq), s.output(dk), s.output(dv),
                                 s.output(ddecay), s.output(dbeta)},
                                s.output(memory),
                                flag});
    EXPECT_TRUE(test::same_bits(edq, dq) && test::same_bits(edk, dk) && test::same_bits(edv, dv))
        << shape.length << " tokens";
    EXPECT_TRUE(test::same_bits(eddecay, ddecay) && test::same_bits(edbeta, dbeta)) << shape.length << " tokens";
    EXPECT_EQ(failure[0], 0u);
  }
}

TEST(DeviceDelta, WhatIsNotFiniteIsReported) {
  const kernels::DeltaShape shape{1, 2, 1, 2, 3};
  Case c(shape);
  c.v[0] = num::float_of(num::kInfinityBits);  // in the state after the first token
  Floats out(c.values()), states(6);
  std::vector<uint32_t> failure(1, 0);
  Simulation s(8);
  launch(s,
         DeltaRule{{shape, s.input(c.q), s.input(c.k), s.input(c.v), s.input(c.decay), s.input(c.beta), s.output(out)},
                   s.output(states),
                   s.inout(failure)});
  EXPECT_EQ(failure[0], static_cast<uint32_t>(kNotFinite));
  EXPECT_FALSE(
      kernels::delta_rule({shape, c.q.data(), c.k.data(), c.v.data(), c.decay.data(), c.beta.data(), out.data()}));
}

TEST(DeviceDelta, ShortConvolutionsGiveTheBitsOfTheCpu) {
  constexpr int64_t kTokens = 14, kLength = 7, n = 23, count = kTokens * n;
  const Floats x = test::student_t3(count, 9), w = test::gaussian(4 * n, 10), dy = test::gaussian(count, 11);
  Floats z(count), y(count), dz(count), dx(count), earlier(count);
  Floats ez = z, ey = y, edz = dz, edx = dx, eearlier = earlier;
  kernels::short_convolution(x.data(), w.data(), kTokens, kLength, n, ez.data(), ey.data());
  kernels::short_convolution_backward(dy.data(), ez.data(), w.data(), kTokens, kLength, n, edz.data(), edx.data());
  Simulation s(12);
  const float *in = s.input(x), *taps = s.input(w);
  launch_elements(s, count, ShortConvolution{in, taps, kLength, n, s.output(z), s.output(y)});
  EXPECT_TRUE(test::same_bits(ez, z) && test::same_bits(ey, y));
  launch_elements(s, count, SiluBackward{s.input(dy), z.data(), s.output(dz)});
  launch_elements(s, count, ShortConvolutionBackward{dz.data(), taps, kLength, n, s.output(dx)});
  EXPECT_TRUE(test::same_bits(edz, dz) && test::same_bits(edx, dx));
  float* moved = s.output(earlier);
  for (int64_t back = 0; back < 4; ++back) {
    kernels::moved_back(x.data(), back, kTokens, kLength, n, eearlier.data());
    launch_elements(s, count, MovedBack{in, back, kLength, n, moved});
    EXPECT_TRUE(test::same_bits(eearlier, earlier)) << back;
  }
}

TEST(DeviceDelta, GatesGiveTheBitsOfTheCpu) {
  constexpr int64_t kTokens = 9, kHeads = 5, count = kTokens * kHeads;
  Floats a = test::student_t3(count, 13);
  a[7] = 40.0f;  // softplus is the identity
  const Floats b = test::gaussian(count, 14), a_log = test::gaussian(kHeads, 15), bias = test::gaussian(kHeads, 16),
               ddecay = test::gaussian(count, 17), dbeta = test::gaussian(count, 18);
  Floats rate(kHeads), time(count), decay(count), beta(count), of_rate(count), of_time(count), of_beta(count);
  Floats erate = rate, etime = time, edecay = decay, ebeta = beta, eof_rate = of_rate, eof_time = of_time,
         eof_beta = of_beta;
  kernels::delta_gates(a.data(), b.data(), a_log.data(), bias.data(), kTokens, kHeads, erate.data(), etime.data(),
                       edecay.data(), ebeta.data());
  kernels::delta_gates_backward({kTokens, kHeads, a.data(), bias.data(), erate.data(), etime.data(), edecay.data(),
                                 ebeta.data(), ddecay.data(), dbeta.data(), eof_rate.data(), eof_time.data(),
                                 eof_beta.data()});
  Simulation s(19);
  const float *in = s.input(a), *biases = s.input(bias);
  launch_elements(s, count,
                  DeltaGates{in, s.input(b), s.input(a_log), biases, kHeads, s.output(rate), s.output(time),
                             s.output(decay), s.output(beta)});
  EXPECT_TRUE(test::same_bits(erate, rate) && test::same_bits(etime, time) && test::same_bits(edecay, decay) &&
              test::same_bits(ebeta, beta));
  launch_elements(
      s, count,
      DeltaGatesBackward{{kTokens, kHeads, in, biases, rate.data(), time.data(), decay.data(), beta.data(),
                          s.input(ddecay), s.input(dbeta), s.output(of_rate), s.output(of_time), s.output(of_beta)}});
  EXPECT_TRUE(test::same_bits(eof_rate, of_rate) && test::same_bits(eof_time, of_time) &&
              test::same_bits(eof_beta, of_beta));
}

TEST(DeviceDelta, TheOutputGateGivesTheBitsOfTheCpu) {
  constexpr int64_t kRows = 11, m = 13, count = kRows * m;
  const Floats n = test::gaussian(count, 20), w = test::gaussian(m, 21), gate = test::student_t3(count, 22),
               dy = test::gaussian(count, 23);
  Floats y(count), gated(count), dg(count);
  Floats ey = y, egated = gated, edg = dg;
  kernels::swish_gate(n.data(), w.data(), gate.data(), count, m, ey.data());
  kernels::swish_gate_backward(dy.data(), n.data(), w.data(), gate.data(), count, m, egated.data(), edg.data());
  Simulation s(24);
  const float *normed = s.input(n), *weights = s.input(w), *z = s.input(gate);
  launch_elements(s, count, SwishGate{normed, weights, z, m, s.output(y)});
  launch_elements(s, count, SwishGateBackward{s.input(dy), normed, weights, z, m, s.output(gated), s.output(dg)});
  EXPECT_TRUE(test::same_bits(ey, y) && test::same_bits(egated, gated) && test::same_bits(edg, dg));
}

}  // namespace
}  // namespace fairway::cuda

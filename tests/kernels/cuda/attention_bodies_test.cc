// Attention's device passes under a simulated grid: the CPU's bits, forward and backward.
#include <gtest/gtest.h>

#include "../support.h"
#include "device_matrix.h"
#include "kernels/attention.h"
#include "kernels/cuda/bodies/attention_passes.h"

namespace fairway::cuda {
namespace {

using kernels::AttentionShape;
using test::Floats;
using test::Simulation;
using test::SliceMemory;

enum class Inputs { kGaussian, kSink, kOutliers, kZeros };

Floats values(int64_t tokens, int64_t width, Inputs kind, uint64_t seed) {
  Floats x = test::gaussian(static_cast<size_t>(tokens * width), seed);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t c = 0; c < width; ++c) {
      float& v = x[static_cast<size_t>(t * width + c)];
      if (kind == Inputs::kSink && t == 0) v *= 30.0f;
      if (kind == Inputs::kOutliers && t % 7 == 3) v *= 50.0f;
      if (kind == Inputs::kZeros && t % 3 == 1) v = 0.0f;
    }
  }
  return x;
}

template <Products P>
void attention_equals_the_cpu(AttentionShape s, Inputs kind, uint64_t seed) {
  s.products = P;
  SCOPED_TRACE(std::to_string(s.sequences) + " x " + std::to_string(s.length) + ", heads " + std::to_string(s.heads) + "/" +
               std::to_string(s.kv_heads) + " of " + std::to_string(s.head_dim));
  const int64_t tokens = s.sequences * s.length, width = s.heads * s.head_dim, kv_width = s.kv_heads * s.head_dim;
  const Floats q = values(tokens, width, kind, seed), k = values(tokens, kv_width, kind, seed + 1), v = values(tokens, kv_width, kind, seed + 2),
               dout = values(tokens, width, kind, seed + 3);
  const size_t rows = static_cast<size_t>(tokens * s.heads);
  Floats out(q.size()), dq(q.size()), dk(k.size()), dv(k.size()), eout(q.size()), edq(q.size()), edk(k.size()), edv(k.size()), delta(rows);
  std::vector<int32_t> row_max(rows), erow_max(rows), prefix(static_cast<size_t>(s.sequences * s.kv_heads * s.length)),
      largest(static_cast<size_t>(s.sequences * s.kv_heads * 4));
  std::vector<int64_t> row_units(rows), erow_units(rows);
  ASSERT_TRUE(kernels::attention_forward({s, q.data(), k.data(), v.data(), eout.data(), erow_max.data(), erow_units.data()}));
  ASSERT_TRUE(kernels::attention_backward(
      {s, q.data(), k.data(), v.data(), dout.data(), erow_max.data(), erow_units.data(), edq.data(), edk.data(), edv.data()}));

  constexpr int kBits = Scheme<P>::kBits;
  const auto slices = [&](const Slices& shape) { return SliceMemory(shape.rows, shape.columns, kBits); };
  SliceMemory mq = slices(head_rows(s, s.heads)), mk = slices(head_rows(s, s.kv_heads)), mv = slices(head_rows(s, s.kv_heads)),
              mo = slices(head_rows(s, s.heads)), tq = slices(head_columns(s, s.heads)), tk = slices(head_columns(s, s.kv_heads)),
              tv = slices(head_columns(s, s.kv_heads)), to = slices(head_columns(s, s.heads));
  std::vector<uint32_t> failure(1, 0);
  Simulation sim(seed);
  const AttentionMemory m{mq.declare(sim), mk.declare(sim), mv.declare(sim),     mo.declare(sim),     tq.declare(sim),   tk.declare(sim),
                          tv.declare(sim), to.declare(sim), sim.output(prefix), sim.output(largest), sim.output(delta)};
  const auto launch = [&](const auto& body) { sim.launch(body); };
  const float *in_q = sim.input(q), *in_k = sim.input(k), *in_v = sim.input(v);
  uint32_t* flag = sim.inout(failure);
  attention_forward_passes<P>(launch, {s, in_q, in_k, in_v, sim.output(out), sim.output(row_max), sim.output(row_units)}, m, flag);
  ASSERT_EQ(sim.problem(), "");
  EXPECT_TRUE(test::same_bits(erow_max, row_max));
  EXPECT_TRUE(test::same_bits(erow_units, row_units));
  EXPECT_TRUE(test::same_bits(eout, out));
  attention_backward_passes<P>(
      launch, {s, in_q, in_k, in_v, sim.input(dout), row_max.data(), row_units.data(), sim.output(dq), sim.output(dk), sim.output(dv)}, m, flag);
  ASSERT_EQ(sim.problem(), "");
  EXPECT_EQ(failure[0], 0u);
  EXPECT_TRUE(test::same_bits(edq, dq)) << "dq";
  EXPECT_TRUE(test::same_bits(edk, dk)) << "dk";
  EXPECT_TRUE(test::same_bits(edv, dv)) << "dv";
}

TEST(DeviceAttention, GivesTheBitsOfTheCpuWithinOneTile) {
  attention_equals_the_cpu<Products::kP3>({1, 1, 1, 1, 16, Products::kP3}, Inputs::kGaussian, 1);
  attention_equals_the_cpu<Products::kP3>({2, 9, 2, 1, 16, Products::kP3}, Inputs::kGaussian, 2);
}

TEST(DeviceAttention, GivesTheBitsOfTheCpuAcrossTilesHeadsAndProducts) {
  attention_equals_the_cpu<Products::kP3>({1, 130, 2, 1, 64, Products::kP3}, Inputs::kGaussian, 10);
  attention_equals_the_cpu<Products::kP4>({1, 65, 1, 1, 64, Products::kP4}, Inputs::kSink, 11);
  attention_equals_the_cpu<Products::kS21>({1, 65, 2, 2, 40, Products::kS21}, Inputs::kOutliers, 12);
  attention_equals_the_cpu<Products::kP3>({1, 66, 1, 1, 100, Products::kP3}, Inputs::kZeros, 13);
}

}  // namespace
}  // namespace fairway::cuda

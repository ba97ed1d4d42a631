// On a GPU: norms, losses, element-wise operations, accumulators, attention and Newton-Schulz give the CPU's bits.
#include "device_test.h"
#include "kernels/newton_schulz.h"
#include "kernels/accumulate.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/bodies/elementwise.h"
#include "kernels/cuda/bodies/rows.h"
#include "kernels/cuda/newton_schulz.h"
#include "kernels/cuda/start.h"
#include "kernels/elementwise.h"
#include "kernels/rows.h"

namespace fairway::cuda {
namespace {

using kernels::AttentionShape;
using kernels::Products;
using test::Floats;

class DeviceRowsOnGpu : public test::OnDevice {
 protected:
  template <class Element>
  void elements(int64_t count, const Element& element) {
    start(device(), Elements<Element>{count, element});
  }
};

TEST_F(DeviceRowsOnGpu, NormsAndDotsGiveTheBitsOfTheCpu) {
  for (auto [rows, n] : {std::array<int64_t, 2>{1, 1}, {1000, 64}, {777, 513}, {100, 16384}}) {
    const size_t size = static_cast<size_t>(rows * n);
    Floats x = test::student_t3(size, 1), dy = test::gaussian(size, 2, 0x1p-70f), y(size), r(static_cast<size_t>(rows)), dx(size), dot(r.size());
    std::fill_n(x.begin(), n, 0.0f);
    ASSERT_TRUE(kernels::rms_norm(x.data(), rows, n, y.data(), r.data()));
    ASSERT_TRUE(kernels::rms_norm_backward(dy.data(), y.data(), r.data(), rows, n, dx.data()));
    ASSERT_TRUE(kernels::row_dot(x.data(), dy.data(), rows, n, dot.data()));
    auto in = upload(x), gradient = upload(dy);
    auto out = room<float>(rows * n), factor = room<float>(rows), back = room<float>(rows * n), dots = room<float>(rows);
    start(device(), WarpRows<RmsNorm>{rows, {in.data(), n, out.data(), factor.data(), device().failure()}});
    start(device(), WarpRows<RmsNormBackward>{
                        rows, {gradient.data(), out.data(), factor.data(), n, back.data(), device().failure()}});
    start(device(), WarpRows<RowDot>{rows, {in.data(), gradient.data(), n, dots.data(), device().failure()}});
    EXPECT_TRUE(test::same_bits(y, download(out)) && test::same_bits(r, download(factor)));
    EXPECT_TRUE(test::same_bits(dx, download(back)));
    EXPECT_TRUE(test::same_bits(dot, download(dots)));
    EXPECT_EQ(device().take_failure(), 0u);
  }
}

TEST_F(DeviceRowsOnGpu, LossesAndTheirGradientsGiveTheBitsOfTheCpu) {
  for (int64_t vocab : {1, 1000, 8192, 50257}) {
    const int64_t rows = 64;
    Floats z = test::student_t3(static_cast<size_t>(rows * vocab), 3), nll(static_cast<size_t>(rows));
    std::vector<uint16_t> targets;
    for (int64_t i = 0; i < rows; ++i) targets.push_back(static_cast<uint16_t>(i * 977 % vocab));
    auto on_z = upload(z);
    auto on_targets = upload(targets);
    auto on_nll = room<float>(rows);
    ASSERT_TRUE(kernels::cross_entropy(z.data(), rows, vocab, 30.0f, targets.data(), nll.data(), true));
    start(device(), CrossEntropy{on_z.data(), rows, vocab, 30.0f, on_targets.data(), on_nll.data(), true, device().failure()});
    EXPECT_TRUE(test::same_bits(nll, download(on_nll)));
    EXPECT_TRUE(test::same_bits(z, download(on_z)));
  }
  EXPECT_EQ(device().take_failure(), 0u);
}

TEST_F(DeviceRowsOnGpu, AccumulatorsGiveTheIntegersOfTheCpuAndKeepTheirLimits) {
  const int64_t rows = 3000, n = 520;
  const Floats a = test::student_t3(static_cast<size_t>(rows * n), 4), b = test::gaussian(a.size(), 5);
  std::vector<uint16_t> ids;
  for (int64_t r = 0; r < rows; ++r) ids.push_back(static_cast<uint16_t>(r * r % 17));
  std::vector<int64_t> sum(static_cast<size_t>(17 * n), 3);
  auto on_a = upload(a), on_b = upload(b);
  auto on_ids = upload(ids);
  auto on_sum = upload(sum);
  const float limit = kernels::term_limit(rows);
  uint32_t* flag = device().failure();
  start(device(), AccumulateRows{on_a.data(), nullptr, rows, n, limit, on_sum.data(), flag});
  start(device(), AccumulateRows{on_a.data(), on_b.data(), rows, n, limit, on_sum.data() + n, flag});
  elements(rows * n, AccumulateGathered{on_b.data(), on_ids.data(), n, limit, on_sum.data(), flag});
  elements(n, Accumulate{on_b.data(), limit, on_sum.data(), flag});
  ASSERT_TRUE(kernels::accumulate_rows(a.data(), rows, n, limit, sum.data()) && kernels::accumulate_products(a.data(), b.data(), rows, n, limit, sum.data() + n));
  ASSERT_TRUE(kernels::accumulate_gathered(b.data(), ids.data(), rows, n, limit, sum.data()) && kernels::accumulate(b.data(), n, limit, sum.data()));
  EXPECT_TRUE(test::same_bits(sum, download(on_sum)));
  EXPECT_EQ(device().take_failure(), 0u);
  elements(n, Accumulate{on_b.data(), 0x1p-40f, on_sum.data(), flag});
  EXPECT_EQ(device().take_failure(), static_cast<uint32_t>(kTooLarge));
  EXPECT_EQ(device().take_failure(), 0u);
}

TEST_F(DeviceRowsOnGpu, ElementsGiveTheBitsOfTheCpu) {
  constexpr int64_t kTokens = 300, kLength = 100, kHeads = 5, kDim = 64, n = kHeads * kDim, count = kTokens * n;
  const Floats x = test::student_t3(count, 6), a = test::gaussian(count, 7), s0 = test::gaussian(n, 8), s1 = test::gaussian(n, 9);
  Floats table(kLength * 32), expected(count);
  kernels::rope_table(kLength, 32, 10000.0, false, table.data());
  auto on_x = upload(x), on_a = upload(a), on_s0 = upload(s0), on_s1 = upload(s1), on_table = upload(table);
  auto y = room<float>(count);
  kernels::mix(x.data(), a.data(), s0.data(), s1.data(), kTokens, n, expected.data());
  elements(count, MixChannels{on_x.data(), on_a.data(), on_s0.data(), on_s1.data(), n, y.data()});
  EXPECT_TRUE(test::same_bits(expected, download(y)));
  for (bool backward : {false, true}) {
    kernels::rope(expected.data(), kTokens, kLength, kHeads, kDim, 32, table.data(), backward);
    if (backward) elements(kTokens * kHeads * 16, Rope<true>{y.data(), kLength, kHeads, kDim, 32, on_table.data()});
    if (!backward) elements(kTokens * kHeads * 16, Rope<false>{y.data(), kLength, kHeads, kDim, 32, on_table.data()});
    EXPECT_TRUE(test::same_bits(expected, download(y)));
  }
  kernels::relu_squared(x.data(), count, expected.data());
  elements(count, ReluSquared{on_x.data(), y.data()});
  EXPECT_TRUE(test::same_bits(expected, download(y)));
  kernels::leaky_relu_squared_backward(x.data(), 0.5f, a.data(), count, expected.data());
  elements(count, LeakyReluSquaredBackward{on_x.data(), 0.5f, on_a.data(), y.data()});
  EXPECT_TRUE(test::same_bits(expected, download(y)));
}

TEST_F(DeviceRowsOnGpu, NewtonSchulzGivesTheBitsOfTheCpu) {
  for (auto [count, rows, columns] : {std::array<int64_t, 3>{1, 40, 70}, {3, 200, 130}, {2, 512, 512}}) {
    Floats u = test::gaussian(static_cast<size_t>(count * rows * columns), 10);
    if (count == 3) std::fill_n(u.begin(), rows * columns, 0.0f);  // a zero matrix stays zero
    auto on_u = upload(u);
    kernels::NewtonSchulzScratch on_cpu;
    NewtonSchulzScratch scratch(device());
    ASSERT_TRUE(kernels::newton_schulz(u.data(), count, rows, columns, 5, Products::kS21, on_cpu));
    newton_schulz(device(), on_u.data(), count, rows, columns, 5, Products::kS21, scratch);
    EXPECT_TRUE(test::same_bits(u, download(on_u)));
  }
  EXPECT_EQ(device().take_failure(), 0u);
}

TEST_F(DeviceRowsOnGpu, AttentionGivesTheBitsOfTheCpu) {
  for (AttentionShape s : {AttentionShape{2, 130, 4, 2, 64, Products::kP3}, {1, 1024, 8, 4, 64, Products::kP3}, {1, 200, 2, 1, 128, Products::kP4},
                           {3, 77, 2, 2, 40, Products::kS21}}) {
    SCOPED_TRACE(std::to_string(s.length) + " tokens, head_dim " + std::to_string(s.head_dim));
    const size_t rows = static_cast<size_t>(s.sequences * s.length * s.heads), keys = rows / static_cast<size_t>(s.heads) * static_cast<size_t>(s.kv_heads);
    const size_t width = static_cast<size_t>(s.head_dim);
    const Floats q = test::gaussian(rows * width, 1, 3.0f), k = test::gaussian(keys * width, 2), v = test::student_t3(keys * width, 3),
                 dout = test::gaussian(rows * width, 4, 0x1p-10f);
    Floats out(q.size()), dq(q.size()), dk(k.size()), dv(k.size());
    std::vector<int32_t> row_max(rows);
    std::vector<int64_t> row_units(rows);
    ASSERT_TRUE(kernels::attention_forward({s, q.data(), k.data(), v.data(), out.data(), row_max.data(), row_units.data()}));
    ASSERT_TRUE(kernels::attention_backward(
        {s, q.data(), k.data(), v.data(), dout.data(), row_max.data(), row_units.data(), dq.data(), dk.data(), dv.data()}));
    auto on_q = upload(q), on_k = upload(k), on_v = upload(v), on_dout = upload(dout);
    auto on_out = upload(out), on_dq = upload(dq), on_dk = upload(dk), on_dv = upload(dv);
    auto on_max = room<int32_t>(static_cast<int64_t>(rows));
    auto on_units = room<int64_t>(static_cast<int64_t>(rows));
    on_out.zero();
    on_dq.zero();
    on_dk.zero();
    on_dv.zero();
    AttentionScratch scratch(device());
    attention_forward(device(), {s, on_q.data(), on_k.data(), on_v.data(), on_out.data(), on_max.data(), on_units.data()}, scratch);
    attention_backward(device(),
                       {s, on_q.data(), on_k.data(), on_v.data(), on_dout.data(), on_max.data(), on_units.data(), on_dq.data(), on_dk.data(), on_dv.data()},
                       scratch);
    EXPECT_EQ(device().take_failure(), 0u);
    EXPECT_TRUE(test::same_bits(row_max, download(on_max)) && test::same_bits(row_units, download(on_units)));
    EXPECT_TRUE(test::same_bits(out, download(on_out)));
    EXPECT_TRUE(test::same_bits(dq, download(on_dq)));
    EXPECT_TRUE(test::same_bits(dk, download(on_dk)));
    EXPECT_TRUE(test::same_bits(dv, download(on_dv)));
  }
}

}  // namespace
}  // namespace fairway::cuda

/// Orthogonal initial values.
#include "engine/model/orthogonal.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/model/gpt.h"
#include "kernels/num/half.h"
#include "kernels/num/philox.h"

namespace fairway::model {
namespace {

std::vector<float> drawn(int64_t rows, int64_t columns) {
  std::vector<float> q(static_cast<size_t>(rows * columns));
  draw_orthogonal(7, 99, rows, columns, q.data());
  return q;
}

TEST(Orthogonal, RowsOrColumnsAreOrthonormal) {
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{64, 64}, {96, 40}, {40, 96}, {1, 12}, {12, 1}}) {
    const auto q = drawn(rows, columns);
    const bool tall = rows >= columns;
    const int64_t n = tall ? columns : rows, m = tall ? rows : columns;
    auto at = [&](int64_t k, int64_t i) { return static_cast<double>(q[static_cast<size_t>(tall ? k * columns + i : i * columns + k)]); };
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j <= i; ++j) {
        double dot = 0;
        for (int64_t k = 0; k < m; ++k) dot += at(k, i) * at(k, j);
        EXPECT_NEAR(dot, i == j ? 1.0 : 0.0, 2e-7) << rows << " x " << columns << " " << i << " " << j;
      }
    }
  }
}

/// Q R = A with R upper triangular and a positive diagonal: QR with the signs of R's diagonal, which makes Q unique.
TEST(Orthogonal, TheTriangularFactorOfTheGaussianHasAPositiveDiagonal) {
  for (auto [rows, columns] : {std::pair<int64_t, int64_t>{30, 20}, {20, 30}}) {
    const auto q = drawn(rows, columns);
    const bool tall = rows >= columns;
    const int64_t n = tall ? columns : rows, m = tall ? rows : columns;
    auto index = [&](int64_t k, int64_t i) { return static_cast<uint64_t>(tall ? k * columns + i : i * columns + k); };
    for (int64_t i = 0; i < n; ++i) {
      for (int64_t j = 0; j < n; ++j) {
        double r = 0;
        for (int64_t k = 0; k < m; ++k) {
          r += static_cast<double>(q[index(k, i)]) * static_cast<double>(num::normal(7, 99, num::kPurposeInit, index(k, j)));
        }
        if (i == j) EXPECT_GT(r, 0.0);
        if (i > j) EXPECT_NEAR(r, 0.0, 3e-6) << i << " " << j;
      }
    }
  }
}

/// Where each rule applies, by whether the tensor's rows or columns are orthonormal to bf16's precision and at which scale.
TEST(Orthogonal, EveryRuleCoversTheMatricesItNames) {
  ModelConfig c;
  c.layers = 2;
  c.width = 128;
  c.heads = 4;
  c.kv_heads = 1;  // 32 values: below 64
  c.mlp_hidden = 192;
  c.bigram_buckets = 50;
  c.bigram_dim = 64;
  auto scale_of = [&](MatrixInit init, const char* name) {
    c.matrix_init = init;
    Gpt m(c);
    m.initialise(3);
    const Parameter& p = *m.find(name);
    // Rows of a wide matrix, columns of a tall one: their common length, or 0 if they differ.
    const bool tall = p.rows() >= p.columns();
    const int64_t n = tall ? p.columns() : p.rows(), len = tall ? p.rows() : p.columns();
    double first = -1;
    for (int64_t i = 0; i < n; ++i) {
      double square = 0;
      for (int64_t k = 0; k < len; ++k) {
        const double x = p.value()[tall ? k * p.columns() + i : i * p.columns() + k];
        square += x * x;
      }
      if (first < 0) first = square;
      if (std::abs(square - first) > 5e-3 * first) return 0.0;
    }
    return std::sqrt(first);
  };
  EXPECT_NEAR(scale_of(MatrixInit::kOrthogonal, "blocks.0.attn.c_q.weight"), 1.0, 2e-3);
  EXPECT_NEAR(scale_of(MatrixInit::kOrthogonal, "blocks.0.attn.c_k.weight"), 1.0, 2e-3);
  EXPECT_NEAR(scale_of(MatrixInit::kOrthogonal, "bigram.proj.weight"), 1.0, 2e-3);
  EXPECT_NEAR(scale_of(MatrixInit::kOrthogonalScaled, "blocks.0.mlp.fc.weight"), 1.0, 2e-3);
  EXPECT_EQ(scale_of(MatrixInit::kOrthogonalScaled, "blocks.0.attn.c_k.weight"), 0.0);
  EXPECT_NEAR(scale_of(MatrixInit::kOrthogonalScaled, "bigram.proj.weight"), 0.5, 2e-3);
  EXPECT_NEAR(scale_of(MatrixInit::kOrthogonalBanks, "blocks.1.attn.c_k.weight"), 1.0, 2e-3);
  EXPECT_NEAR(scale_of(MatrixInit::kOrthogonalBanks, "bigram.proj.weight"), 1.0, 2e-3);
  EXPECT_EQ(scale_of(MatrixInit::kUniform, "blocks.0.attn.c_q.weight"), 0.0);
  c.bigram_dim = 32;
  EXPECT_EQ(scale_of(MatrixInit::kOrthogonalBanks, "bigram.proj.weight"), 0.0);
  EXPECT_EQ(scale_of(MatrixInit::kOrthogonalBanks, "blocks.0.attn.proj.weight"), 0.0);
}

TEST(InitialValues, FeatureScalarsStartAtTheirBf16Values) {
  ModelConfig c;
  c.layers = 1;
  c.width = 64;
  c.heads = 2;
  c.kv_heads = 1;
  c.bigram_buckets = 50;
  c.bigram_dim = 16;
  c.smear = SmearForm::kBlend;
  c.value_dim = 8;
  c.value_layers = {0};
  c.value_residual = c.gated_attention = true;
  Gpt m(c);
  m.initialise(3);
  auto first = [&](const char* name) { return m.find(name)->value()[0]; };
  EXPECT_EQ(first("bigram.scale"), 0.050048828125f);
  EXPECT_EQ(first("ve_shared.scale"), 0.10009765625f);
  EXPECT_EQ(first("ve_layer_scales.0"), 1.0f);
  EXPECT_EQ(first("smear.gate"), 0.0f);
  EXPECT_EQ(first("bigram.embed.weight"), 0.0f);
  EXPECT_NE(first("ve_shared.embed.weight"), 0.0f);
  EXPECT_EQ(first("blocks.0.attn.vr_lambda"), 0.5f);
  EXPECT_EQ(first("blocks.0.attn.attn_gate.weight"), 0.0f);
  EXPECT_EQ(first("blocks.0.attn.attn_gate.bias"), 4.0f);
}

}  // namespace
}  // namespace fairway::model

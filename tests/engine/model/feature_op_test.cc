/// Operations of the published systems: forward against their formulas in binary64, gradients against central
/// differences of those.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/model/ops/channel_scale.h"
#include "engine/model/ops/exclusive_attention.h"
#include "engine/model/ops/hash_embedding.h"
#include "engine/model/ops/head_gate.h"
#include "engine/model/ops/interpolate.h"
#include "engine/model/ops/leaky_relu_squared.h"
#include "engine/model/ops/linear.h"
#include "engine/model/ops/multi_token_loss.h"
#include "engine/model/ops/rope.h"
#include "engine/model/ops/scalar_scale.h"
#include "engine/model/ops/scale.h"
#include "engine/model/ops/smear_gate.h"
#include "engine/model/ops/unit_norm.h"
#include "engine/model/ops/value_residual.h"
#include "tests/engine/model/op_case.h"
#include "tests/engine/model/small_model.h"

namespace fairway::model {
namespace {

using test::Case;
using test::Doubles;
using test::Floats;

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

constexpr int64_t kWidth = 48, kHeads = 4, kDepth = 12;

TEST(ScaleOp, MultipliesByOneNumber) {
  Case c(2, 5);
  const ValueId x = c.input(kWidth), y = c.tape().add_value(kWidth);
  c.tape().add_op(std::make_unique<Scale>("scale", 0.5773502588272095f, x, y));
  c.run(y);
  c.expect(
      [](const std::vector<Doubles>& v) {
        Doubles out = v[0];
        for (double& o : out) o *= 0.5773502588272095;
        return out;
      },
      1e-7);
}

TEST(ScalarScaleOp, TrainsItsScalar) {
  Case c(2, 5);
  const ValueId x = c.input(kWidth), y = c.tape().add_value(kWidth);
  c.tape().add_op(std::make_unique<ScalarScale>(c.parameter({}), x, y));
  c.run(y);
  c.expect(
      [](const std::vector<Doubles>& v) {
        Doubles out = v[0];
        for (double& o : out) o *= v[1][0];
        return out;
      },
      1e-6);
  c.expect_same_bits_on_every_machine();
}

TEST(ScalarAddOp, AddsAScaledBranch) {
  Case c(2, 5);
  const ValueId x = c.input(kWidth), a = c.input(kWidth), y = c.tape().add_value(kWidth);
  c.tape().add_op(std::make_unique<ScalarAdd>(c.parameter({1}), x, a, y));
  c.run(y);
  c.expect(
      [](const std::vector<Doubles>& v) {
        Doubles out = v[0];
        for (size_t i = 0; i < out.size(); ++i) out[i] += v[2][0] * v[1][i];
        return out;
      },
      1e-6);
  c.expect_same_bits_on_every_machine();
}

TEST(ValueResidualOp, MixesTheFirstLayersValues) {
  Case c(2, 5);
  const ValueId v0 = c.input(24), v1 = c.input(24), y = c.tape().add_value(24);
  c.tape().add_op(std::make_unique<ValueResidual>(c.parameter({2}), v0, v1, y));
  c.run(y);
  c.expect(
      [](const std::vector<Doubles>& v) {
        Doubles out = v[0];
        for (size_t i = 0; i < out.size(); ++i) out[i] = v[2][0] * v[0][i] + v[2][1] * v[1][i];
        return out;
      },
      1e-6);
  c.expect_same_bits_on_every_machine();
}

TEST(LeakyReluSquaredOp, HasTheGradientOfItsSquare) {
  for (float slope : {0.5f, 0.9f}) {
    Case c(2, 5);
    const ValueId x = c.input(80), y = c.tape().add_value(80);
    c.tape().add_op(std::make_unique<LeakyReluSquared>("leaky", slope, x, y));
    c.run(y);
    c.expect(
        [=](const std::vector<Doubles>& v) {
          Doubles out = v[0];
          for (double& o : out) {
            o = o > 0 ? o : static_cast<double>(slope) * o;
            o *= o;
          }
          return out;
        },
        1e-6);
  }
}

TEST(RopeOp, RotatesTheFirstDimsOnlyAndRescalesTheBaseOfLongWindows) {
  for (int64_t reference : {int64_t{0}, int64_t{16}}) {
    Case c(2, 37);
    const ValueId x = c.input(kWidth), y = c.tape().add_value(kWidth);
    c.tape().add_op(std::make_unique<Rope>("rope", x, y, kHeads, Rope::Angles{6, 10000.0, false, reference}));
    c.run(y);
    const double base = reference == 0 ? 10000.0 : 10000.0 * std::pow(37.0 / 16.0, 6.0 / 4.0);
    c.expect(
        [=](const std::vector<Doubles>& v) {
          Doubles out = v[0];
          for (size_t row = 0; row < out.size() / kDepth; ++row) {
            for (size_t i = 0; i < 3; ++i) {
              const double angle =
                  static_cast<double>(row / kHeads % 37) * std::pow(base, -2.0 * static_cast<double>(i) / 6.0);
              const double a = v[0][row * kDepth + i], b = v[0][row * kDepth + i + 3];
              out[row * kDepth + i] = a * std::cos(angle) + b * std::sin(angle);
              out[row * kDepth + i + 3] = b * std::cos(angle) - a * std::sin(angle);
            }
          }
          return out;
        },
        2e-6);
  }
}

TEST(RopeOp, AShortPartOfAWindowUsesTheBaseOfTheWindow) {
  Tape whole, part;
  const Floats x = test::gaussian(37 * kWidth, 3);
  const test::Sample sample(1, 37, 61, 8);
  std::vector<uint16_t> head(sample.inputs.begin(), sample.inputs.begin() + 20);
  auto rotate = [&](Tape& tape, model::Batch batch, size_t tokens) {
    const ValueId in = tape.add_value(kWidth), out = tape.add_value(kWidth);
    tape.add_op(std::make_unique<test::Source>(
        in, Floats(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(tokens * kWidth))));
    tape.add_op(std::make_unique<Rope>("rope", in, out, kHeads, Rope::Angles{6, 10000.0, false, 16}));
    EXPECT_TRUE(tape.forward(batch));
    return Floats(tape.data(out), tape.data(out) + tokens * kWidth);
  };
  const Floats all = rotate(whole, sample.batch(false), 37);
  model::Batch batch = sample.batch(false);
  batch.length = 20;
  batch.window_length = 37;
  batch.inputs = head;
  batch.targets = head;
  const Floats some = rotate(part, batch, 20);
  EXPECT_TRUE(std::equal(some.begin(), some.end(), all.begin()));
}

/// Both channel forms; the predecessor of a sequence's first token is zero.
TEST(SmearGateOp, MixesWithThePredecessorInTheSequence) {
  for (bool keeps : {false, true}) {
    Case c(3, 7);
    const ValueId x = c.input(kWidth), y = c.tape().add_value(kWidth);
    c.tape().add_op(std::make_unique<SmearGate>(c.parameter({kWidth}), keeps, x, y));
    c.run(y);
    c.expect(
        [=](const std::vector<Doubles>& v) {
          Doubles out = v[0];
          for (size_t i = 0; i < out.size(); ++i) {
            const double s = sigmoid(v[1][i % kWidth]), previous = i / kWidth % 7 == 0 ? 0.0 : v[0][i - kWidth];
            out[i] = keeps ? s * v[0][i] + (1 - s) * previous : (1 - s) * v[0][i] + s * previous;
          }
          return out;
        },
        1e-6);
    c.expect_same_bits_on_every_machine();
  }
}

TEST(TokenSmearGateOp, ReadsTwelveChannelsOfTheToken) {
  Case c(3, 7);
  const ValueId x = c.input(kWidth), y = c.tape().add_value(kWidth);
  Parameter &w = c.parameter({1, 12}), &b = c.parameter({1});
  c.tape().add_op(std::make_unique<TokenSmearGate>(w, b, x, y));
  c.run(y);
  c.expect(
      [](const std::vector<Doubles>& v) {
        Doubles out = v[0];
        for (size_t t = 0; t < out.size() / kWidth; ++t) {
          double z = v[2][0];
          for (size_t k = 0; k < 12; ++k) z += v[1][k] * v[0][t * kWidth + k];
          for (size_t k = 0; k < kWidth && t % 7 != 0; ++k)
            out[t * kWidth + k] += 0.07 * sigmoid(z) * v[0][(t - 1) * kWidth + k];
        }
        return out;
      },
      2e-6);
  c.expect_same_bits_on_every_machine();
}

TEST(UnitNormOp, DividesEveryGroupByItsLength) {
  for (int64_t group : {kWidth, kDepth}) {
    Case c(2, 5);
    const ValueId x = c.input(kWidth), y = c.tape().add_value(kWidth);
    c.tape().add_op(std::make_unique<UnitNorm>("unit", group, x, y));
    c.run(y);
    c.expect(
        [=](const std::vector<Doubles>& v) {
          Doubles out = v[0];
          const auto n = static_cast<size_t>(group);
          for (size_t row = 0; row < out.size() / n; ++row) {
            double square = 0;
            for (size_t i = 0; i < n; ++i) square += v[0][row * n + i] * v[0][row * n + i];
            for (size_t i = 0; i < n; ++i) out[row * n + i] /= std::sqrt(square);
          }
          return out;
        },
        1e-6);
    c.expect_same_bits_on_every_machine();
  }
}

TEST(InterpolateOp, StepsByTheMagnitudeOfItsRates) {
  Case c(2, 5);
  const ValueId x = c.input(kWidth), u = c.input(kWidth), y = c.tape().add_value(kWidth);
  c.tape().add_op(std::make_unique<Interpolate>(c.parameter({2, kWidth}), 1, 0.75f, x, u, y));
  c.run(y);
  c.expect(
      [](const std::vector<Doubles>& v) {
        Doubles out = v[0];
        for (size_t i = 0; i < out.size(); ++i) out[i] += std::abs(0.75 * v[2][kWidth + i % kWidth]) * (v[1][i] - v[0][i]);
        return out;
      },
      1e-6);
  c.expect_same_bits_on_every_machine();
}

TEST(ChannelScaleOp, MultipliesByItsFactorAsWell) {
  Case c(2, 5);
  const ValueId x = c.input(kWidth), y = c.tape().add_value(kWidth);
  c.tape().add_op(std::make_unique<ChannelScale>(c.parameter({kWidth}), 6.5f, x, y));
  c.run(y);
  c.expect(
      [](const std::vector<Doubles>& v) {
        Doubles out = v[0];
        for (size_t i = 0; i < out.size(); ++i) out[i] *= 6.5 * v[1][i % kWidth];
        return out;
      },
      1e-6);
  c.expect_same_bits_on_every_machine();
}

TEST(ExclusiveAttentionOp, TakesOutWhatLiesAlongTheTokensOwnValue) {
  for (int64_t kv_heads : {4, 2, 1}) {
    ModelConfig config = test::small_config();
    config.kv_heads = kv_heads;
    Case c(2, 5);
    const ValueId o = c.input(kWidth), v = c.input(kDepth * kv_heads), y = c.tape().add_value(kWidth);
    c.tape().add_op(std::make_unique<ExclusiveAttention>("xsa", config, o, v, y));
    c.run(y);
    c.expect(
        [=](const std::vector<Doubles>& x) {
          Doubles out = x[0];
          for (size_t row = 0; row < out.size() / kDepth; ++row) {
            const size_t token = row / kHeads, j = row % kHeads / (kHeads / static_cast<size_t>(kv_heads));
            const double* value = &x[1][(token * static_cast<size_t>(kv_heads) + j) * kDepth];
            double square = 0, dot = 0;
            for (size_t d = 0; d < kDepth; ++d) {
              square += value[d] * value[d];
              dot += value[d] * x[0][row * kDepth + d];
            }
            for (size_t d = 0; d < kDepth; ++d) out[row * kDepth + d] -= dot / square * value[d];
          }
          return out;
        },
        1e-6);
    c.expect_same_bits_on_every_machine();
  }
}

TEST(ExclusiveAttentionOp, AZeroValueExcludesNothing) {
  ModelConfig config = test::small_config();
  Case c(1, 3);
  const ValueId o = c.input(kWidth), v = c.input(24, 0.0f), y = c.tape().add_value(kWidth);
  c.tape().add_op(std::make_unique<ExclusiveAttention>("xsa", config, o, v, y));
  c.run(y);
  for (int64_t i = 0; i < c.tokens() * kWidth; ++i) EXPECT_EQ(c.tape().data(y)[i], c.tape().data(o)[i]);
}

TEST(HeadGateOp, GatesEveryHead) {
  Case c(2, 5);
  const ValueId x = c.input(kWidth), z = c.input(kHeads), y = c.tape().add_value(kWidth);
  c.tape().add_op(std::make_unique<HeadGate>(c.parameter({kHeads}), x, z, y));
  c.run(y);
  c.expect(
      [](const std::vector<Doubles>& v) {
        Doubles out = v[0];
        for (size_t i = 0; i < out.size(); ++i) out[i] *= sigmoid(v[1][i / kDepth] + v[2][i / kDepth % kHeads]);
        return out;
      },
      1e-6);
  c.expect_same_bits_on_every_machine();
}

/// The bucket rules once more, as the table of the specification states them.
TEST(HashEmbeddingOp, LooksUpPairsAndTriplesOfTheSequence) {
  using ops::BigramHash;
  for (bool trigrams : {false, true}) {
    for (BigramHash hash :
         {BigramHash::kAffine92821, BigramHash::kAffine31, BigramHash::kXorPrevious, BigramHash::kXorCurrent}) {
      constexpr int64_t buckets = 101, dim = 7, length = 9;
      Case c(3, length);
      const ValueId y = c.tape().add_value(dim);
      c.tape().add_op(std::make_unique<HashEmbedding>(c.parameter({buckets, dim}), hash, trigrams, y));
      c.run(y);
      const std::vector<uint16_t> ids = c.sample().inputs;
      c.expect(
          [=](const std::vector<Doubles>& v) {
            Doubles out(ids.size() * dim);
            for (size_t t = 0; t < ids.size(); ++t) {
              const size_t position = t % length;
              const int64_t cur = ids[t], prev = position > 0 ? ids[t - 1] : 0, before = position > 1 ? ids[t - 2] : 0;
              int64_t bucket = 0;
              if (hash == BigramHash::kAffine92821) bucket = (92821 * prev + cur) % buckets;
              if (hash == BigramHash::kAffine31) bucket = (31 * prev + cur) % buckets;
              if (hash == BigramHash::kXorPrevious) bucket = ((36313 * prev) ^ (27191 * cur)) % (buckets - 1);
              if (hash == BigramHash::kXorCurrent)
                bucket = position == 0 ? buckets - 1 : ((36313 * cur) ^ (27191 * prev)) % (buckets - 1);
              int64_t triple =
                  position < 2 ? buckets - 1 : ((36313 * cur) ^ (27191 * prev) ^ (51497 * before)) % (buckets - 1);
              for (size_t k = 0; k < dim; ++k) {
                out[t * dim + k] = v[0][static_cast<size_t>(bucket) * dim + k] +
                                   (trigrams ? v[0][static_cast<size_t>(triple) * dim + k] : 0.0);
              }
            }
            return out;
          },
          1e-6);
    }
  }
}

TEST(MultiTokenLossOp, WeighsTheMeanLossOfFurtherTokens) {
  ModelConfig config = test::small_config();
  test::set_products(config, kernels::Products::kS21);
  constexpr int64_t length = 9, ahead = 2;
  for (bool square : {false, true}) {
    Case c(3, length);
    const ValueId h = c.input(kWidth);
    Parameter& head = c.parameter({61, kWidth}, 0.3f);
    head.set_forward_bits(21);
    auto loss = std::make_unique<MultiTokenLoss>("further", config, head, ahead, 0.1, h);
    if (square) {
      Parameter& before = c.parameter({kWidth, kWidth}, 0.3f);
      before.set_forward_bits(21);
      loss->put_before(c.tape(), before);
    }
    c.tape().add_op(std::move(loss));
    // The head has no output; an unused value lets the harness run.
    c.run(c.input(1));
    const std::vector<uint16_t> targets = c.sample().targets;
    test::Reference r;
    auto source = test::gaussian(c.tokens() * kWidth, 11);
    auto weights = test::gaussian(61 * kWidth, 12, 0.3f), squares = test::gaussian(kWidth * kWidth, 13, 0.3f);
    const test::NodePtr hidden = r.leaf(c.tokens(), kWidth, source.data()), matrix = r.leaf(61, kWidth, weights.data());
    const test::NodePtr before = r.leaf(kWidth, kWidth, squares.data());
    std::vector<uint16_t> further(targets.size());
    for (size_t t = 0; t < targets.size(); ++t) further[t] = t % length + ahead < length ? targets[t + ahead] : 0;
    const test::NodePtr nll = r.tied_loss(square ? r.linear(hidden, before) : hidden, matrix, further, 30.0);
    for (size_t t = 0; t < nll->g.size(); ++t)
      nll->g[t] = t % length + ahead < length ? 0.1 * length / (length - ahead) : 0.0;
    r.backward();
    EXPECT_LT(c.input_error(0, hidden->g), 1e-5);
    EXPECT_LT(c.parameter_error(0, matrix->g), 1e-5);
    if (square) {
      EXPECT_LT(c.parameter_error(1, before->g), 1e-5);
    }
  }
}

TEST(LinearOp, MultipliesByAMatrixStoredTheOtherWayRound) {
  ModelConfig config = test::small_config();
  test::set_products(config, kernels::Products::kS21);
  constexpr int64_t out = 7;
  Case c(2, 5);
  const ValueId x = c.input(kWidth), y = c.tape().add_value(out);
  Parameter& a = c.parameter({kWidth, out}, 0.3f);
  a.set_forward_bits(21);
  a.set_stored_in_out();
  EXPECT_EQ(a.outputs(), out);
  c.tape().add_op(std::make_unique<Linear>("linear", config, x, std::vector<Linear::Branch>{{&a, y}}));
  c.run(y);
  c.expect(
      [&](const std::vector<Doubles>& v) {
        Doubles products(static_cast<size_t>(c.tokens() * out));
        for (size_t t = 0; t < static_cast<size_t>(c.tokens()); ++t) {
          for (size_t o = 0; o < out; ++o) {
            for (size_t i = 0; i < kWidth; ++i) products[t * out + o] += v[0][t * kWidth + i] * v[1][i * out + o];
          }
        }
        return products;
      },
      1e-5);
}

}  // namespace
}  // namespace fairway::model

#include "engine/optim/optimizer.h"

#include <gtest/gtest.h>

#include <map>

#include "kernels/num/half.h"
#include "tests/engine/model/small_model.h"
#include "tests/engine/optim/newton_schulz64.h"

namespace fairway::optim {
namespace {

using model::Gpt;
using model::Group;
using Doubles = std::vector<double>;

constexpr int64_t kTokens = 256;

/// Random accumulators: mean gradients of about `scale`.
void set_gradients(Gpt& m, uint64_t seed, float scale = 0.01f) {
  std::mt19937_64 engine(seed);
  std::normal_distribution<double> normal(0.0, scale);
  for (auto& p : m.parameters()) {
    p->clear_gradient();
    for (int64_t& g : p->gradients()) g = static_cast<int64_t>(normal(engine) * static_cast<double>(kTokens) * 0x1p30);
  }
}

double mean_gradient(int64_t units) { return static_cast<double>(units) * 0x1p-30 / static_cast<double>(kTokens); }

std::map<std::string, std::vector<float>> values(Gpt& m) {
  std::map<std::string, std::vector<float>> out;
  for (auto& p : m.parameters()) out[p->name()].assign(p->values().begin(), p->values().end());
  return out;
}

std::map<std::string, std::vector<float>> state(Optimizer& o) {
  std::map<std::string, std::vector<float>> out;
  for (auto& t : o.state()) out[t.name].assign(t.values.begin(), t.values.end());
  return out;
}

class Step : public ::testing::Test {
 protected:
  Step() : model(test::small_config(2)) {
    model.initialise(1);
    test::perturb(model, 2);
  }
  Gpt model;
  OptimizerConfig config;
};

TEST_F(Step, StateIsNamedInParameterOrder) {
  Optimizer o(config, model);
  std::vector<std::string> expected, found;
  for (auto& p : model.parameters()) {
    if (p->group() == Group::kMatrix) {
      expected.push_back(p->name() + ".momentum");
    } else {
      expected.push_back(p->name() + ".adam_m");
      expected.push_back(p->name() + ".adam_v");
    }
  }
  for (auto& t : o.state()) {
    found.push_back(t.name);
    for (float v : t.values) ASSERT_EQ(v, 0.0f);
  }
  EXPECT_EQ(found, expected);
}

TEST_F(Step, AtMultiplierZeroOnlyTheStateMoves) {
  Optimizer o(config, model);
  const auto before = values(model);
  set_gradients(model, 3);
  ASSERT_TRUE(o.step(0, 0.0, kTokens));
  EXPECT_EQ(values(model), before);
  for (auto& [name, t] : state(o)) {
    bool moved = false;
    for (float v : t) moved |= v != 0.0f;
    EXPECT_TRUE(moved) << name;
  }
}

TEST_F(Step, AdamFollowsTheFormulaInBinary64) {
  Optimizer o(config, model);
  std::map<std::string, Doubles> w, m, v;
  for (auto& [name, t] : values(model)) {
    w[name].assign(t.begin(), t.end());
    m[name].resize(t.size());
    v[name].resize(t.size());
  }
  for (int step = 0; step < 6; ++step) {
    const double multiplier = 1.0 - 0.1 * step;
    set_gradients(model, 30 + static_cast<uint64_t>(step));
    for (auto& p : model.parameters()) {
      if (p->group() != Group::kScalar) continue;
      auto &pw = w[p->name()], &pm = m[p->name()], &pv = v[p->name()];
      for (size_t i = 0; i < pw.size(); ++i) {
        const double g = mean_gradient(p->gradient()[i]);
        pm[i] = 0.9 * pm[i] + 0.1 * g;
        pv[i] = 0.95 * pv[i] + 0.05 * g * g;
        pw[i] -= config.scalar_lr * multiplier * (pm[i] / (1 - std::pow(0.9, step + 1))) / (std::sqrt(pv[i] / (1 - std::pow(0.95, step + 1))) + 1e-8);
      }
    }
    ASSERT_TRUE(o.step(step, multiplier, kTokens));
  }
  for (auto& p : model.parameters()) {
    if (p->group() != Group::kScalar) continue;
    for (int64_t i = 0; i < p->count(); ++i) ASSERT_NEAR(p->value()[i], w[p->name()][static_cast<size_t>(i)], 2e-6) << p->name();
  }
}

TEST_F(Step, TheBf16EmbeddingAndItsMomentsStayBf16) {
  Optimizer o(config, model);
  for (int step = 0; step < 3; ++step) {
    set_gradients(model, 3 + static_cast<uint64_t>(step));
    ASSERT_TRUE(o.step(step, 1.0, kTokens));
  }
  const auto s = state(o);
  const auto w = values(model);
  for (const auto* t : {&w.at("tok_emb.weight"), &s.at("tok_emb.weight.adam_m"), &s.at("tok_emb.weight.adam_v")}) {
    for (float x : *t) ASSERT_EQ(x, num::round_to_bf16(x));
  }
  // Everything else uses the whole of binary32.
  for (const auto* t : {&w.at("blocks.0.attn_scale"), &s.at("blocks.0.attn_scale.adam_m"), &w.at("blocks.0.mlp.fc.weight"), &s.at("blocks.0.mlp.fc.weight.momentum")}) {
    bool full = false;
    for (float x : *t) full |= x != num::round_to_bf16(x);
    EXPECT_TRUE(full);
  }
}

TEST_F(Step, TheFirstEmbeddingUpdateIsTheLearningRateTimesTheSign) {
  // m / c1 = g and sqrt(v / c2) = |g| at the first step.
  Optimizer o(config, model);
  const auto before = values(model).at("tok_emb.weight");
  set_gradients(model, 3);
  ASSERT_TRUE(o.step(0, 0.5, kTokens));
  const model::Parameter& e = *model.find("tok_emb.weight");
  for (size_t i = 0; i < before.size(); ++i) {
    const double update = -0.05 * 0.5 * (model.find("tok_emb.weight")->gradient()[i] > 0 ? 1 : -1);
    ASSERT_NEAR(e.values()[i], before[i] + update, 2e-3 * std::abs(update) + 0x1p-8 * std::abs(before[i] + update));
  }
}

TEST_F(Step, MuonFollowsMomentumNesterovIterationAndShapeFactor) {
  Optimizer o(config, model);
  std::map<std::string, Doubles> momentum;
  for (int step = 0; step < 3; ++step) {
    const double mu = momentum_at(config.momentum, step), multiplier = 1.0 - 0.25 * step;
    set_gradients(model, 40 + static_cast<uint64_t>(step));
    const auto before = values(model);
    std::map<std::string, Doubles> update;
    for (auto& p : model.parameters()) {
      if (p->group() != Group::kMatrix) continue;
      auto& m = momentum[p->name()];
      m.resize(static_cast<size_t>(p->count()));
      Doubles u(m.size());
      for (size_t i = 0; i < m.size(); ++i) {
        const double g = mean_gradient(p->gradient()[i]);
        m[i] = mu * m[i] + g;
        u[i] = g + mu * m[i];
      }
      const auto rows = static_cast<size_t>(p->rows()), columns = static_cast<size_t>(p->columns());
      u = test::newton_schulz64(u, rows, columns, 5);
      const double factor = std::sqrt(std::max(1.0, static_cast<double>(rows) / static_cast<double>(columns)));
      for (double& x : u) x *= factor * config.matrix_lr * multiplier;
      update[p->name()] = u;
    }
    ASSERT_TRUE(o.step(step, multiplier, kTokens));
    const auto after = values(model);
    const auto s = state(o);
    for (auto& [name, u] : update) {
      double difference = 0, norm = 0;
      for (size_t i = 0; i < u.size(); ++i) {
        const double found = static_cast<double>(before.at(name)[i]) - static_cast<double>(after.at(name)[i]);
        difference += (found - u[i]) * (found - u[i]);
        norm += u[i] * u[i];
        ASSERT_NEAR(s.at(name + ".momentum")[i], momentum[name][i], 1e-7) << name;
      }
      // Two roundings to bf16, each up to 2^-9 of the element.
      EXPECT_LT(std::sqrt(difference / norm), 4e-3) << name << " step " << step;
    }
  }
}

TEST_F(Step, ZeroGradientsMoveNoMatrix) {
  Optimizer o(config, model);
  for (auto& p : model.parameters()) p->clear_gradient();
  const auto before = values(model);
  ASSERT_TRUE(o.step(0, 1.0, kTokens));
  EXPECT_EQ(values(model), before);
}

double global_norm(Gpt& m) {
  double sum = 0;
  for (auto& p : m.parameters()) {
    for (int64_t g : p->gradients()) sum += mean_gradient(g) * mean_gradient(g);
  }
  return std::sqrt(sum);
}

TEST_F(Step, ClippingScalesEveryGradientByTheGlobalNorm) {
  config.grad_clip_norm = 0.3;
  Optimizer o(config, model);
  set_gradients(model, 3);
  const double norm = global_norm(model), factor = 0.3 / (norm + 1e-6);
  ASSERT_LT(factor, 1.0);
  ASSERT_TRUE(o.step(0, 1.0, kTokens));
  const auto s = state(o);
  for (auto& p : model.parameters()) {
    for (size_t i = 0; i < p->values().size(); ++i) {
      const double g = mean_gradient(p->gradient()[i]) * factor;
      if (p->group() == Group::kMatrix) ASSERT_NEAR(s.at(p->name() + ".momentum")[i], g, 3e-7 * std::abs(g) + 1e-30) << p->name();
      if (p->group() == Group::kScalar) ASSERT_NEAR(s.at(p->name() + ".adam_m")[i], 0.1 * g, 3e-7 * std::abs(g) + 1e-30) << p->name();
    }
  }
}

TEST_F(Step, ANormBelowTheLimitChangesNoBit) {
  Gpt other(model.config());
  other.initialise(1);
  test::perturb(other, 2);
  set_gradients(model, 3);
  set_gradients(other, 3);
  Optimizer plain(config, model);
  config.grad_clip_norm = 1.01 * global_norm(model);
  Optimizer clipped(config, other);
  ASSERT_TRUE(plain.step(0, 1.0, kTokens));
  ASSERT_TRUE(clipped.step(0, 1.0, kTokens));
  EXPECT_EQ(values(model), values(other));
}

TEST_F(Step, AStateThatIsNotFiniteIsNamed) {
  for (const char* name : {"blocks.1.mlp.fc.weight.momentum", "blocks.0.attn.q_gain.adam_m", "tok_emb.weight.adam_v"}) {
    Gpt m(model.config());
    m.initialise(1);
    Optimizer o(config, m);
    for (auto& t : o.state()) {
      if (t.name == name) t.values[5 % t.values.size()] = NAN;
    }
    set_gradients(m, 3);
    const Status status = o.step(0, 1.0, kTokens);
    ASSERT_FALSE(status) << name;
    EXPECT_EQ(status.error().code, Errc::kData);
    EXPECT_EQ(status.error().where, std::string(name).substr(0, std::string(name).rfind('.')));
  }
}

TEST_F(Step, AnOverflowingUpdateIsNamed) {
  config.scalar_lr = 1e39;
  Optimizer o(config, model);
  set_gradients(model, 3);
  const Status status = o.step(0, 1.0, kTokens);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().where, "skip_weights");
}

TEST_F(Step, AModelOfOneLayerWithoutSkipWeightsTrains) {
  Gpt m(test::small_config(1));
  m.initialise(1);
  Optimizer o(config, m);
  set_gradients(m, 3);
  EXPECT_EQ(m.find("skip_weights")->count(), 0);
  EXPECT_TRUE(o.step(0, 1.0, kTokens));
}

/// Gradients of one worker, different for each.
void set_worker(Gpt& m, uint64_t worker) { set_gradients(m, 300 + worker, worker == 1 ? 0.5f : 0.01f); }

TEST_F(Step, WorkersAreClippedOneByOneAndTheirOrderDoesNotMatter) {
  config.grad_clip_norm = 0.3;
  config.clip_scope = ClipScope::kWorker;
  auto after = [&](const std::vector<uint64_t>& order) {
    Gpt m(model.config());
    m.initialise(1);
    test::perturb(m, 2);
    Optimizer o(config, m);
    for (uint64_t w : order) {
      set_worker(m, w);
      EXPECT_TRUE(o.take_worker(kTokens));
    }
    EXPECT_TRUE(o.step_of_workers(0, 1.0, static_cast<int64_t>(order.size())));
    return std::pair{values(m), state(o)};
  };
  const auto expected = after({0, 1, 2});
  EXPECT_EQ(after({2, 0, 1}), expected);
  EXPECT_NE(after({0, 1, 1}), expected);
  // Adam's first moment shows the mean gradient: 0.1 of it.
  std::map<std::string, Doubles> mean;
  for (uint64_t w = 0; w < 3; ++w) {
    set_worker(model, w);
    double square = 0;
    for (auto& p : model.parameters()) {
      for (int64_t units : p->gradients()) square += mean_gradient(units) * mean_gradient(units);
    }
    const double factor = std::min(1.0, 0.3 / (std::sqrt(square) + 1e-6));
    for (auto& p : model.parameters()) {
      auto& sum = mean[p->name()];
      sum.resize(p->values().size());
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += mean_gradient(p->gradients()[i]) * factor / 3;
    }
  }
  for (auto& p : model.parameters()) {
    if (p->group() != Group::kScalar) continue;
    const auto& m = expected.second.at(p->name() + ".adam_m");
    for (size_t i = 0; i < m.size(); ++i) ASSERT_NEAR(m[i], 0.1 * mean[p->name()][i], 1e-6 * (1e-3 + std::abs(mean[p->name()][i]))) << p->name();
  }
}

TEST_F(Step, DecayMultipliesTheWeightsAndLeavesTheStateAlone) {
  // Without a gradient an update is zero, so the decay alone is seen.
  config.muon_wd = 0.5;
  config.adam_wd = 0.25;
  for (auto muon : {MuonKind::kStandard, MuonKind::kParallel}) {
    config.muon = muon;
    Gpt m(model.config());
    m.initialise(1);
    test::perturb(m, 2);
    const auto before = values(m);
    Optimizer o(config, m);
    for (auto& p : m.parameters()) p->clear_gradient();
    ASSERT_TRUE(o.step(0, 0.5, kTokens));
    for (auto& p : m.parameters()) {
      const bool matrix = p->group() == Group::kMatrix, embedding = p->group() == Group::kEmbedding;
      const double lr = 0.5 * (matrix ? config.matrix_lr : embedding ? config.tied_embed_lr : config.scalar_lr);
      const double factor = 1.0 - lr * (matrix ? 0.5 : 0.25);
      for (int64_t i = 0; i < p->count(); ++i) {
        const double expected = static_cast<double>(before.at(p->name())[static_cast<size_t>(i)]) * factor;
        ASSERT_NEAR(p->value()[i], expected, (p->bf16() ? 4e-3 : 1e-6) * std::abs(expected)) << p->name();
      }
    }
  }
}

TEST_F(Step, ParallelMuonKeepsItsMomentumInBf16) {
  config.muon = MuonKind::kParallel;
  Optimizer o(config, model);
  for (int step = 0; step < 2; ++step) {
    set_gradients(model, 3 + static_cast<uint64_t>(step));
    ASSERT_TRUE(o.step(step, 1.0, kTokens));
  }
  const auto s = state(o);
  for (float x : s.at("blocks.0.mlp.fc.weight.momentum")) ASSERT_EQ(x, num::round_to_bf16(x));
}

TEST_F(Step, AveragesFollowTheWeights) {
  config.averages = {0.75, 2, 0.6, 0, false, FinalWeights::kSnapshots};
  Optimizer o(config, model);
  const char* name = "blocks.0.attn_scale";
  Doubles ema(model.find(name)->values().begin(), model.find(name)->values().end()), sum(ema.size());
  const double multipliers[] = {1.0, 1.0, 0.7, 0.5, 0.4, 0.3};
  for (int step = 0; step < 6; ++step) {
    set_gradients(model, 40 + static_cast<uint64_t>(step));
    ASSERT_TRUE(o.step(step, multipliers[step], kTokens));
    const auto& w = model.find(name)->values();
    for (size_t i = 0; i < ema.size(); ++i) {
      ema[i] = 0.75 * ema[i] + 0.25 * static_cast<double>(w[i]);
      // Every second step, of these only those with a multiplier below 0.6: the fourth and the sixth.
      if (step == 3 || step == 5) sum[i] += static_cast<double>(w[i]);
    }
  }
  const auto s = state(o);
  for (size_t i = 0; i < ema.size(); ++i) ASSERT_NEAR(s.at(std::string(name) + ".ema")[i], ema[i], 1e-6);
  EXPECT_EQ(s.at("snapshots.count")[0], 2.0f);
  ASSERT_TRUE(o.averages().apply());
  for (size_t i = 0; i < ema.size(); ++i) ASSERT_NEAR(model.find(name)->values()[i], sum[i] / 2, 1e-6);
}

}  // namespace
}  // namespace fairway::optim

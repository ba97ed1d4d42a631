/// Every operation by itself, forward and backward, against binary64.
#include <gtest/gtest.h>

#include "engine/model/ops/attention.h"
#include "engine/model/ops/embedding.h"
#include "engine/model/ops/head_gain.h"
#include "engine/model/ops/linear.h"
#include "engine/model/ops/relu_squared.h"
#include "engine/model/ops/residual.h"
#include "engine/model/ops/rms_norm.h"
#include "engine/model/ops/rope.h"
#include "engine/model/ops/head_loss.h"
#include "tests/engine/model/op_bench.h"
#include "tests/engine/model/reference.h"
#include "tests/engine/model/small_model.h"

namespace fairway::model {
namespace {

using test::NodePtr;
using test::Floats;
using test::gaussian;
using test::Sink;
using test::Source;

/// A tape for one operation beside its reference.
class Bench {
 public:
  Bench(int64_t sequences, int64_t length) : sample_(sequences, length, 61, 8) {}
  int64_t tokens() const { return sample_.sequences * sample_.length; }
  const test::Sample& sample() const { return sample_; }
  test::Reference& reference() { return reference_; }
  Tape& tape() { return tape_; }

  struct Input {
    ValueId id;
    NodePtr node;
    Source* source;
  };
  Input input(int64_t width, uint64_t seed, float scale = 1.0f) {
    Floats x = gaussian(tokens() * width, seed, scale);
    Input i{tape_.add_value(width), reference_.leaf(tokens(), width, x.data()), nullptr};
    auto source = std::make_unique<Source>(i.id, x);
    i.source = source.get();
    tape_.add_op(std::move(source));
    return i;
  }
  Parameter& parameter(std::string name, std::vector<int64_t> shape, Group group, uint64_t seed, float scale = 1.0f) {
    parameters_.push_back(std::make_unique<Parameter>(std::move(name), shape, group, false));
    Parameter& p = *parameters_.back();
    const Floats x = gaussian(p.count(), seed, scale);
    std::copy(x.begin(), x.end(), p.value());
    p.changed();
    p.clear_gradient();
    return p;
  }
  NodePtr node(Parameter& p) { return reference_.leaf(p.shape().size() == 1 ? 1 : p.shape()[0], p.shape().back(), p.value()); }
  /// The gradient of an output is random.
  void output(ValueId id, const NodePtr& node) {
    Floats g = gaussian(tokens() * node->columns, 77 + static_cast<uint64_t>(id));
    node->g.assign(g.begin(), g.end());
    tape_.add_op(std::make_unique<Sink>(id, g));
    outputs_.push_back({id, node});
  }
  void run(double forward_bound) {
    const Status forward = tape_.forward(sample_.batch(true));
    ASSERT_TRUE(forward) << forward.error().message();
    for (const auto& [id, node] : outputs_) {
      EXPECT_LT(test::relative_error(Floats(tape_.data(id), tape_.data(id) + node->v.size()), node->v), forward_bound);
    }
    const Status backward = tape_.backward();
    ASSERT_TRUE(backward) << backward.error().message();
    reference_.backward();
  }
  static double error(const Input& i) { return test::relative_error(i.source->gradient, i.node->g); }
  static double error(Parameter& p, const NodePtr& node) {
    std::vector<double> g;
    for (int64_t units : p.gradients()) g.push_back(static_cast<double>(units) * 0x1p-30);
    return test::relative_error(g, node->g);
  }

 private:
  test::Sample sample_;
  test::Reference reference_;
  Tape tape_;
  std::vector<std::unique_ptr<Parameter>> parameters_;
  std::vector<std::pair<ValueId, NodePtr>> outputs_;
};

TEST(RmsNormOp, OverTheWidthAndOverEachHead) {
  for (int64_t group : {48, 12}) {
    Bench b(3, 5);
    auto x = b.input(48, 1);
    const ValueId y = b.tape().add_value(48);
    b.tape().add_op(std::make_unique<RmsNorm>("norm", x.id, y, group));
    b.output(y, b.reference().rms_norm(x.node, group));
    b.run(1e-6);
    EXPECT_LT(Bench::error(x), 1e-6);
  }
}

TEST(RmsNormOp, TheEpsilonCountsForTinyRows) {
  Bench b(3, 5);
  auto x = b.input(48, 1, 3e-4f);
  const ValueId y = b.tape().add_value(48);
  b.tape().add_op(std::make_unique<RmsNorm>("norm", x.id, y, 48));
  b.output(y, b.reference().rms_norm(x.node, 48));
  b.run(1e-6);
  EXPECT_LT(Bench::error(x), 1e-6);
}

TEST(RopeOp, RotatesByThePositionInTheSequence) {
  Bench b(2, 71);
  auto x = b.input(48, 1);
  const ValueId y = b.tape().add_value(48);
  b.tape().add_op(std::make_unique<Rope>("rope", x.id, y, 4, Rope::Angles{12, 10000.0, false}));
  b.output(y, b.reference().rope(x.node, 4, 71, 10000.0));
  b.run(1e-6);
  EXPECT_LT(Bench::error(x), 1e-6);
}

TEST(HeadGainOp, ScalesEveryHeadByItsGain) {
  Bench b(3, 7);
  auto x = b.input(48, 1);
  Parameter& gain = b.parameter("gain", {4}, Group::kScalar, 2);
  const NodePtr g = b.node(gain);
  const ValueId y = b.tape().add_value(48);
  b.tape().add_op(std::make_unique<HeadGain>(gain, x.id, y));
  b.output(y, b.reference().head_gain(x.node, g));
  b.run(1e-7);
  EXPECT_LT(Bench::error(x), 1e-7);
  EXPECT_LT(Bench::error(gain, g), 1e-6);
}

TEST(ResidualMixOp, MixesTwoInputsPerChannel) {
  Bench b(3, 7);
  auto x = b.input(48, 1), x0 = b.input(48, 2);
  Parameter& mix = b.parameter("mix", {2, 48}, Group::kScalar, 3);
  const NodePtr m = b.node(mix);
  const ValueId y = b.tape().add_value(48);
  b.tape().add_op(std::make_unique<ResidualMix>(mix, x.id, x0.id, y));
  b.output(y, b.reference().mix(x.node, x0.node, m));
  b.run(1e-6);
  EXPECT_LT(Bench::error(x), 1e-6);
  EXPECT_LT(Bench::error(x0), 1e-6);
  EXPECT_LT(Bench::error(mix, m), 1e-6);
}

TEST(ResidualMixOp, OneValueInBothPlacesGetsBothGradients) {
  Bench b(3, 7);
  auto x = b.input(48, 1);
  Parameter& mix = b.parameter("mix", {2, 48}, Group::kScalar, 3);
  const NodePtr m = b.node(mix);
  const ValueId y = b.tape().add_value(48);
  b.tape().add_op(std::make_unique<ResidualMix>(mix, x.id, x.id, y));
  b.output(y, b.reference().mix(x.node, x.node, m));
  b.run(1e-6);
  EXPECT_LT(Bench::error(x), 1e-6);
}

TEST(ScaledAddOp, UsesAndTrainsOnlyItsRow) {
  Bench b(3, 7);
  auto x = b.input(48, 1), a = b.input(48, 2);
  Parameter& scale = b.parameter("skip_weights", {3, 48}, Group::kScalar, 3);
  const NodePtr s = b.node(scale);
  const ValueId y = b.tape().add_value(48);
  b.tape().add_op(std::make_unique<ScaledAdd>(scale, 1, x.id, a.id, y));
  b.output(y, b.reference().scaled_add(x.node, s, 1, a.node));
  b.run(1e-6);
  EXPECT_LT(Bench::error(x), 1e-7);
  EXPECT_LT(Bench::error(a), 1e-6);
  EXPECT_LT(Bench::error(scale, s), 1e-6);
  for (int64_t c = 0; c < 48; ++c) {
    EXPECT_EQ(scale.gradient()[c], 0);
    EXPECT_EQ(scale.gradient()[96 + c], 0);
  }
}

TEST(ReluSquaredOp, HasTheGradientOfASquare) {
  Bench b(3, 7);
  auto x = b.input(80, 1);
  const ValueId y = b.tape().add_value(80);
  b.tape().add_op(std::make_unique<ReluSquared>("relu", x.id, y));
  b.output(y, b.reference().relu_squared(x.node));
  b.run(1e-7);
  EXPECT_LT(Bench::error(x), 1e-7);
}

TEST(LinearOp, SharesOneInputAmongThreeMatrices) {
  for (auto [products, bound] : {std::pair{kernels::Products::kP3, 1e-3}, {kernels::Products::kP4, 5e-4}, {kernels::Products::kS21, 5e-6}}) {
    ModelConfig config;
    test::set_products(config, products);
    Bench b(3, 23);
    auto x = b.input(48, 1);
    std::vector<Linear::Branch> branches;
    std::vector<NodePtr> nodes;
    for (int64_t out : {48, 24, 7}) {
      Parameter& w = b.parameter("w" + std::to_string(out), {out, 48}, Group::kMatrix, 10 + static_cast<uint64_t>(out), 0.2f);
      w.set_forward_bits(kernels::bits_of_products(products));
      branches.push_back({&w, b.tape().add_value(out)});
      nodes.push_back(b.node(w));
    }
    b.tape().add_op(std::make_unique<Linear>("linear", config, x.id, branches));
    for (size_t i = 0; i < branches.size(); ++i) b.output(branches[i].out, b.reference().linear(x.node, nodes[i]));
    b.run(bound);
    EXPECT_LT(Bench::error(x), bound);
    for (size_t i = 0; i < branches.size(); ++i) EXPECT_LT(Bench::error(*branches[i].weight, nodes[i]), bound) << i;
  }
}

TEST(AttentionOp, AgreesForSharedKeysAndSeveralBlocks) {
  for (auto [products, bound] : {std::pair{kernels::Products::kP3, 2e-3}, {kernels::Products::kS21, 2e-5}}) {
    for (int64_t kv_heads : {4, 2, 1}) {
      ModelConfig config = test::small_config();
      config.kv_heads = kv_heads;
      test::set_products(config, products);
      Bench b(2, 131);
      auto q = b.input(48, 1), k = b.input(12 * kv_heads, 2), v = b.input(12 * kv_heads, 3);
      const ValueId y = b.tape().add_value(48);
      b.tape().add_op(std::make_unique<Attention>("attn", config, q.id, k.id, v.id, y));
      b.output(y, b.reference().attention(q.node, k.node, v.node, 4, kv_heads, 131));
      b.run(bound);
      EXPECT_LT(Bench::error(q), bound);
      EXPECT_LT(Bench::error(k), bound);
      EXPECT_LT(Bench::error(v), bound);
    }
  }
}

TEST(EmbeddingOp, GathersRowsAndScattersTheirGradients) {
  Bench b(3, 41);
  Parameter& table = b.parameter("table", {61, 48}, Group::kEmbedding, 3);
  const NodePtr t = b.node(table);
  const ValueId y = b.tape().add_value(48);
  b.tape().add_op(std::make_unique<Embedding>(table, y));
  b.output(y, b.reference().embedding(t, b.sample().inputs));
  b.run(1e-12);
  EXPECT_LT(Bench::error(table, t), 1e-7);
}

TEST(HeadLossOp, AgreesWithAndWithoutTheSoftcap) {
  for (auto [products, bound] : {std::pair{kernels::Products::kP3, 1e-3}, {kernels::Products::kS21, 1e-5}}) {
    for (float cap : {0.0f, 5.0f, 30.0f}) {
      ModelConfig config = test::small_config();
      config.logit_softcap = cap;
      test::set_products(config, products);
      Bench b(3, 23);
      auto h = b.input(48, 1);
      Parameter& table = b.parameter("table", {61, 48}, Group::kEmbedding, 3, 0.5f);
      table.set_forward_bits(kernels::bits_of_products(products));
      const NodePtr t = b.node(table);
      b.tape().add_op(std::make_unique<HeadLoss>(config, table, h.id));
      const NodePtr nll = b.reference().tied_loss(h.node, t, b.sample().targets, static_cast<double>(cap));
      b.run(bound);
      EXPECT_LT(test::relative_error(b.tape().nll(), nll->v), bound) << cap;
      EXPECT_LT(Bench::error(h), bound) << cap;
      EXPECT_LT(Bench::error(table, t), bound) << cap;
    }
  }
}

TEST(Errors, NameTheTensorThatIsNotFinite) {
  for (const char* name : {"tok_emb.weight", "blocks.1.attn.c_k.weight", "blocks.0.mlp.proj.weight"}) {
    Gpt m(test::small_config());
    m.initialise(1);
    for (float& v : m.find(name)->values()) v = NAN;
    m.find(name)->changed();
    const test::Sample sample(1, 20, 61, 9);
    const Status status = m.tape().forward(sample.batch(true));
    ASSERT_FALSE(status) << name;
    EXPECT_EQ(status.error().code, Errc::kData);
    // The embedding is first met where its rows enter the norm.
    EXPECT_EQ(status.error().where, std::string(name) == "tok_emb.weight" ? "tok_emb.norm" : name);
  }
  Gpt m(test::small_config());
  m.initialise(1);
  m.find("blocks.2.mlp_scale")->value()[0] = INFINITY;
  m.find("blocks.2.mlp.proj.weight")->value()[0] = 1.0f;
  m.find("blocks.2.mlp.proj.weight")->changed();
  const Status status = m.tape().forward(test::Sample(1, 20, 61, 9).batch(true));
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().where, "final_norm");
}

TEST(Errors, AGradientTermBeyondItsLimitStopsTheBackwardPassAndIsNamed) {
  Gpt m(test::small_config());
  m.initialise(1);
  test::perturb(m, 2);
  test::clear_gradients(m);
  const test::Sample sample(1, 20, 61, 9);
  model::Batch batch = sample.batch(true);
  batch.chunk_term_limit = 0x1p-20f;
  ASSERT_TRUE(m.tape().forward(batch));
  Status status = m.tape().backward();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().what, kGradientTooLarge);
  EXPECT_EQ(status.error().where, "logits");
  batch = sample.batch(true);
  batch.term_limit = 0x1p-20f;
  test::clear_gradients(m);
  ASSERT_TRUE(m.tape().forward(batch));
  status = m.tape().backward();
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().where, "blocks.2.mlp_scale");
}

}  // namespace
}  // namespace fairway::model

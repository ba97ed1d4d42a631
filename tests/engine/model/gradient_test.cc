/// The whole model against binary64: losses, and the gradient of every parameter.
#include <gtest/gtest.h>

#include <cstdlib>

#include "kernels/fake_quantise.h"
#include "tests/engine/model/reference.h"
#include "tests/engine/model/small_model.h"

namespace fairway {
namespace {

using kernels::Products;
using model::Gpt;
using model::ModelConfig;
using test::NodePtr;

struct Shape {
  const char* name;
  int64_t layers, heads, kv_heads, sequences, length;
};

/// Sequences longer than one attention block of 64 keys, odd counts, one layer, an unpaired decoder, no sharing of keys.
const Shape kShapes[] = {
    {"two layers", 2, 4, 2, 3, 37},  {"three layers, one unpaired", 3, 4, 4, 2, 71}, {"four layers, three queries per key", 4, 6, 2, 1, 131},
    {"one layer, no skips", 1, 4, 1, 5, 9},
};

ModelConfig config_of(const Shape& s, Products products) {
  ModelConfig c = test::small_config(s.layers);
  c.heads = s.heads;
  c.kv_heads = s.kv_heads;
  test::set_products(c, products);
  return c;
}

std::map<std::string, NodePtr> leaves(test::Reference& r, Gpt& model) {
  std::map<std::string, NodePtr> out;
  for (auto& p : model.parameters()) {
    const bool vector = p->shape().size() == 1;
    out[p->name()] = vector ? r.leaf(1, p->count(), p->value()) : r.leaf(p->shape()[0], p->shape()[1], p->value());
  }
  return out;
}

/// Largest relative error over the parameters; also checks the losses.
void compare(Gpt& model, const test::Sample& sample, test::Reference& r, std::map<std::string, NodePtr>& parameters, double loss_bound,
             double gradient_bound, const std::string& what) {
  const NodePtr nll = r.gpt(model.config(), parameters, sample.inputs, sample.targets, sample.length);
  r.backward();
  test::clear_gradients(model);
  test::add_gradients(model, sample);
  auto& found = model.tape().nll();
  for (size_t i = 0; i < found.size(); ++i) ASSERT_NEAR(found[i], nll->v[i], loss_bound) << what << ", token " << i;
  for (auto& p : model.parameters()) {
    std::vector<double> gradient;
    for (int64_t units : p->gradients()) gradient.push_back(static_cast<double>(units) * 0x1p-30);
    const double error = test::relative_error(gradient, parameters.at(p->name())->g);
    // The query gains have a few elements each, sums over all tokens that largely cancel: twice the bound of the others.
    const double bound = p->name().ends_with("q_gain") ? 2 * gradient_bound : gradient_bound;
    EXPECT_LT(error, bound) << what << ": " << p->name();
    if (std::getenv("FAIRWAY_SHOW_ERRORS") != nullptr) std::printf("%s %s %.3g\n", what.c_str(), p->name().c_str(), error);
  }
}

void compare_all(Products products, double loss_bound, double gradient_bound) {
  for (const Shape& s : kShapes) {
    Gpt model(config_of(s, products));
    model.initialise(5);
    test::perturb(model, 11);
    const test::Sample sample(s.sequences, s.length, model.config().vocab_size, 3);
    test::Reference r;
    auto parameters = leaves(r, model);
    compare(model, sample, r, parameters, loss_bound, gradient_bound, s.name);
  }
}

TEST(WholeModel, GradientsAgreeWithBinary64AtThreeProducts) { compare_all(Products::kP3, 4e-3, 2e-3); }
TEST(WholeModel, GradientsAgreeWithBinary64AtFourProducts) { compare_all(Products::kP4, 4e-3, 2e-3); }
TEST(WholeModel, GradientsAgreeWithBinary64CloserAt21Bits) { compare_all(Products::kS21, 2e-5, 2e-5); }

TEST(Reference, ItsGradientsAgreeWithCentralDifferences) {
  Gpt model(config_of(kShapes[1], Products::kP3));
  model.initialise(5);
  test::perturb(model, 11);
  const test::Sample sample(2, 9, model.config().vocab_size, 3);
  test::Reference r;
  auto parameters = leaves(r, model);
  r.gpt(model.config(), parameters, sample.inputs, sample.targets, sample.length);
  r.backward();
  auto loss_at = [&](const std::string& name, size_t i, double value) {
    test::Reference again;
    auto copies = leaves(again, model);
    copies.at(name)->v[i] = value;
    const NodePtr nll = again.gpt(model.config(), copies, sample.inputs, sample.targets, sample.length);
    double sum = 0;
    for (double x : nll->v) sum += x;
    return sum;
  };
  std::mt19937_64 engine(1);
  for (auto& p : model.parameters()) {
    for (int n = 0; n < 3; ++n) {
      const size_t i = engine() % p->values().size();
      const double x = p->values()[i], h = 1e-5;
      const double slope = (loss_at(p->name(), i, x + h) - loss_at(p->name(), i, x - h)) / (2 * h);
      EXPECT_NEAR(parameters.at(p->name())->g[i], slope, 1e-6 * (1 + std::abs(slope))) << p->name() << " " << i;
    }
  }
}

TEST(FakeQuantisation, TrainingSeesTheQuantisedMatricesAndPassesTheirGradientStraightThrough) {
  ModelConfig config = config_of(kShapes[0], Products::kP3);
  config.qat = model::Qat::kInt6Row;
  Gpt model(config);
  model.initialise(5);
  test::perturb(model, 11);
  const test::Sample sample(3, 37, config.vocab_size, 3);
  test::Reference r;
  auto parameters = leaves(r, model);
  for (auto& p : model.parameters()) {
    if (p->group() != model::Group::kMatrix) continue;
    std::vector<float> seen(p->values().size());
    ASSERT_TRUE(kernels::fake_quantise_rows(p->value(), p->rows(), p->columns(), ops::FakeForm::kInt6Row, seen.data()));
    parameters[p->name()] = r.leaf(p->rows(), p->columns(), seen.data());
  }
  compare(model, sample, r, parameters, 4e-3, 2e-3, "fake quantisation");
}

TEST(FakeQuantisation, EvaluationSeesTheMatricesAsTheyAre) {
  ModelConfig config = config_of(kShapes[0], Products::kP3);
  Gpt plain(config);
  config.qat = model::Qat::kInt6Row;
  Gpt quantised(config);
  for (Gpt* m : {&plain, &quantised}) {
    m->initialise(5);
    test::perturb(*m, 11);
  }
  const test::Sample sample(3, 37, config.vocab_size, 3);
  const auto expected = test::nll_of(plain, sample.batch(false));
  EXPECT_EQ(test::nll_of(quantised, sample.batch(false)), expected);
  // Switching to training and back leaves nothing behind.
  EXPECT_NE(test::nll_of(quantised, sample.batch(true)), expected);
  EXPECT_EQ(test::nll_of(quantised, sample.batch(false)), expected);
}

}  // namespace
}  // namespace fairway

#include "engine/train/state.h"

#include <gtest/gtest.h>

#include "tests/engine/base/temporary_directory.h"
#include "tests/engine/model/small_model.h"

namespace fairway::train {
namespace {

using test::slurp;
using test::spill;

const Digest kConfig = sha256(std::string_view("config"));

class State : public ::testing::Test {
 protected:
  State() : model(test::small_config(1)), optimizer({}, model), path(folder / "a.state") {
    model.initialise(5);
    test::perturb(model, 11);
    std::mt19937_64 engine(1);
    for (auto& t : optimizer.state()) {
      for (float& v : t.values) v = static_cast<float>(engine() % 1000) * 0x1p-9f;
    }
    progress.seed = 7;
    progress.completed_steps = 3;
    progress.elapsed_ms = 1234;
    progress.multipliers = {1.0, 0.5, 0x1.999999999999ap-4};
    progress.commitments = {{2, sha256(std::string_view("x"))}};
  }
  /// Error of reading `path` into a fresh model, or "".
  std::string error(uint64_t seed = 7, const Digest& config = kConfig) {
    model::Gpt m(model.config());
    optim::Optimizer o({}, m);
    const Digest before = state_root(m, o, 0);
    auto p = read_state(path, config, seed, m, o);
    if (p) return "";
    EXPECT_EQ(p.error().code, Errc::kData);
    EXPECT_EQ(state_root(m, o, 0), before) << "a refused state changed the model";
    EXPECT_EQ(p.error().where, path);
    return p.error().what;
  }
  test::TemporaryDirectory folder;
  model::Gpt model;
  optim::Optimizer optimizer;
  std::string path;
  Progress progress;
};

TEST_F(State, RoundTripsToTheBit) {
  ASSERT_TRUE(write_state(path, kConfig, model, optimizer, progress));
  model::Gpt m(model.config());
  optim::Optimizer o({}, m);
  auto p = read_state(path, kConfig, 7, m, o);
  ASSERT_TRUE(p) << p.error().message();
  EXPECT_EQ(p->seed, 7u);
  EXPECT_EQ(p->completed_steps, 3);
  EXPECT_EQ(p->elapsed_ms, 1234);
  EXPECT_EQ(p->multipliers, progress.multipliers);
  EXPECT_EQ(p->commitments, progress.commitments);
  EXPECT_EQ(state_root(m, o, 3), state_root(model, optimizer, 3));
  EXPECT_EQ(folder.files(), std::vector<std::string>{"a.state"});
}

TEST_F(State, RootDependsOnEveryTensorAndTheStep) {
  const Digest root = state_root(model, optimizer, 3);
  EXPECT_NE(state_root(model, optimizer, 4), root);
  for (auto& p : model.parameters()) {
    if (p->count() == 0) continue;
    float& v = p->values()[p->values().size() - 1];
    const float kept = v;
    v += 0x1p-10f;
    EXPECT_NE(state_root(model, optimizer, 3), root) << p->name();
    v = kept;
  }
  for (auto& t : optimizer.state()) {
    if (t.values.empty()) continue;
    const float kept = t.values[0];
    t.values[0] += 1.0f;
    EXPECT_NE(state_root(model, optimizer, 3), root) << t.name;
    t.values[0] = kept;
  }
  EXPECT_EQ(state_root(model, optimizer, 3), root);
}

TEST_F(State, RootIsTheMerkleTreeTheHeaderDescribes) {
  // Small tensors: one leaf each, after the leaf of names and counts.
  std::string header = "fairway-state-1\n3\n";
  std::vector<Digest> leaves(1);
  auto add = [&](const std::string& name, std::span<const float> values) {
    header += name + " " + std::to_string(values.size()) + "\n";
    if (!values.empty()) leaves.push_back(merkle_leaf(std::as_bytes(values)));
  };
  for (auto& p : model.parameters()) add(p->name(), p->values());
  for (auto& t : optimizer.state()) add(t.name, t.values);
  leaves[0] = merkle_leaf(std::as_bytes(std::span<const char>(header)));
  EXPECT_EQ(state_root(model, optimizer, 3), merkle_root(leaves));
}

TEST_F(State, EveryFlippedBytePositionIsFound) {
  ASSERT_TRUE(write_state(path, kConfig, model, optimizer, progress));
  const std::string good = slurp(path);
  for (size_t at = 0; at < good.size(); at += at < 64 || at + 64 > good.size() ? 1 : 4999) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    spill(path, bad);
    EXPECT_NE(error(), "") << at;
  }
  spill(path, good);
  EXPECT_EQ(error(), "");
}

TEST_F(State, EveryTruncationIsFound) {
  ASSERT_TRUE(write_state(path, kConfig, model, optimizer, progress));
  const std::string good = slurp(path);
  for (size_t size : {size_t{0}, size_t{7}, size_t{16}, size_t{47}, size_t{48}, good.size() / 2, good.size() - 1}) {
    spill(path, good.substr(0, size));
    EXPECT_NE(error().find("delete it to start again"), std::string::npos) << size;
  }
  spill(path, good + "x");
  EXPECT_NE(error(), "");
}

TEST_F(State, OfAnotherConfigOrSeedIsRefused) {
  ASSERT_TRUE(write_state(path, kConfig, model, optimizer, progress));
  EXPECT_EQ(error(7, Digest{}), "this state belongs to another fairway.toml; delete it or use another --out");
  EXPECT_EQ(error(8), "this state is of seed 7, not 8");
}

TEST_F(State, OfAnotherModelIsRefused) {
  ASSERT_TRUE(write_state(path, kConfig, model, optimizer, progress));
  model::Gpt m(test::small_config(2));
  optim::Optimizer o({}, m);
  auto p = read_state(path, kConfig, 7, m, o);
  ASSERT_FALSE(p);
  EXPECT_NE(p.error().what.find("does not hold this model's tensors"), std::string::npos);
}

TEST_F(State, WithAMultiplierTooFewIsRefused) {
  progress.multipliers.pop_back();
  ASSERT_TRUE(write_state(path, kConfig, model, optimizer, progress));
  EXPECT_NE(error().find("one multiplier per step"), std::string::npos);
}

}  // namespace
}  // namespace fairway::train

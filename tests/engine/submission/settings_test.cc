#include "engine/submission/settings.h"

#include <gtest/gtest.h>

#include "engine/submission/submission.h"
#include "tests/support/tiny_submission.h"

namespace fairway::submission {
namespace {

Result<Submission> changed(const std::vector<std::string>& texts) {
  std::vector<Setting> settings;
  for (const auto& t : texts) settings.push_back(*parse_setting(t));
  const auto text = with_settings(test::kTinyConfig, "fairway.toml", settings);
  if (!text) return text.error();
  const test::TemporaryDirectory folder;
  test::spill(folder / "fairway.toml", *text);
  return load_submission(folder.path());
}

TEST(Settings, NoneLeavesEveryValue) {
  const auto s = changed({});
  ASSERT_TRUE(s) << s.error().message();
  EXPECT_EQ(s->model.width, 32);
  EXPECT_EQ(s->optimizer.adam_eps, 1e-8);
  EXPECT_EQ(s->train.seeds, (std::vector<uint64_t>{7}));
}

TEST(Settings, ReplaceAndAddKeysOfEveryType) {
  const auto s =
      changed({"model.xsa_last_n=1", "optimizer.matrix_lr=0.5", "model.matrix_init=orthogonal", "model.ln_scale=true",
               "model.ve_dim=8", "model.ve_layers=[0, 1]", "averages.ema_decay=0.9", "train.seeds=[1, 2]"});
  ASSERT_TRUE(s) << s.error().message();
  EXPECT_EQ(s->model.xsa_last_n, 1);
  EXPECT_EQ(s->optimizer.matrix_lr, 0.5);
  EXPECT_EQ(s->model.matrix_init, model::MatrixInit::kOrthogonal);
  EXPECT_TRUE(s->model.ln_scale);
  EXPECT_EQ(s->model.value_layers, (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(s->optimizer.averages.ema_decay, 0.9);
  EXPECT_EQ(s->train.seeds, (std::vector<uint64_t>{1, 2}));
}

TEST(Settings, ReachTheTablesInsideATable) {
  const auto s = changed({"eval.procedure=score_first_ttt", "eval.ttt.epochs=7", "eval.ttt.lr=0.25"});
  ASSERT_TRUE(s) << s.error().message();
  EXPECT_EQ(s->eval.sgd.epochs, 7);
  EXPECT_EQ(s->eval.sgd.lr, 0.25);
  const auto through_a_value = changed({"model.width.x=1"});
  ASSERT_FALSE(through_a_value);
  EXPECT_NE(through_a_value.error().message().find("model.width.x"), std::string::npos);
}

TEST(Settings, TheLastOfTwoWins) {
  EXPECT_EQ(changed({"model.mlp_hidden=8", "model.mlp_hidden=9"})->model.mlp_hidden, 9);
}

TEST(Settings, AnUnknownKeyIsReportedByTheReader) {
  const auto s = changed({"model.widht=3"});
  ASSERT_FALSE(s);
  EXPECT_NE(s.error().message().find("model.widht"), std::string::npos);
}

TEST(Settings, WhatIsNoSettingIsAUsageError) {
  for (const char* text :
       {"", "x", "model", "model.", ".x=1", "model.x", "model.x=", "x=1", "model.x y=1", "model..b=1", "model.a.=1", "a.b.c.d=1"}) {
    const auto s = parse_setting(text);
    ASSERT_FALSE(s) << text;
    EXPECT_EQ(s.error().code, Errc::kUsage) << text;
  }
}

TEST(Settings, AValueCannotSmuggleInAnotherKey) {
  const auto s = changed({"model.matrix_init=orthogonal\nwidth = 3"});
  ASSERT_FALSE(s);
  EXPECT_NE(s.error().message().find("model.matrix_init"), std::string::npos);
  EXPECT_EQ(parse_setting("model.x={a=1}")->value.front(), '\'');
}

}  // namespace
}  // namespace fairway::submission

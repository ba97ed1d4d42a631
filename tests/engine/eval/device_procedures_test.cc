// Evaluations that learn or look into attention, through the executor of a device on a simulated grid: the CPU's
// traces, which hold every score's bits and every state's digest, and its errors.
#include <gtest/gtest.h>

#include "engine/eval/procedures/learner.h"
#include "tests/kernels/cuda/device_fixture.h"
#include "tests/kernels/support.h"
#include "tests/verifier/probe/eval_cases.h"

namespace fairway::eval {
namespace {

class DeviceProcedures : public test::DeviceFixture {};

/// A stream that gives every procedure a few steps; a simulated grid is slow.
constexpr size_t kTokens = 81;

struct Traced {
  std::vector<std::byte> trace;
  std::vector<float> nll;
  std::string error;
};

Traced run(const EvalConfig& config, kernels::Executor& executor,
           const std::function<void(model::Gpt&)>& prepare = {}) {
  test::EvalSubject subject(5);
  subject.tokens.resize(kTokens);
  if (prepare) prepare(subject.model);
  EXPECT_TRUE(subject.model.use(executor));
  Traced traced;
  const auto alone = comm::single_process();
  EvalRun r{config, subject.tokens, nullptr, alone.get(), {}, ""};
  r.sink = [&](std::span<const float> piece) -> Status {
    traced.nll.insert(traced.nll.end(), piece.begin(), piece.end());
    return {};
  };
  r.trace.sink = [&](std::span<const std::byte> piece) -> Status {
    traced.trace.insert(traced.trace.end(), piece.begin(), piece.end());
    return {};
  };
  const auto found = evaluate(subject.model, r);
  if (!found) traced.error = std::to_string(found.error().exit_code()) + " " + found.error().message();
  // The weights outlive the executor's memory.
  EXPECT_TRUE(subject.model.use(kernels::cpu_executor()));
  return traced;
}

void expect_same_on(kernels::Executor& executor, const EvalConfig& config) {
  const Traced expected = run(config, kernels::cpu_executor()), got = run(config, executor);
  EXPECT_EQ(expected.error, "");
  EXPECT_EQ(got.error, "");
  EXPECT_GT(expected.nll.size(), 30u);
  EXPECT_TRUE(test::same_bits(got.nll, expected.nll));
  EXPECT_TRUE(got.trace == expected.trace);
}

EvalConfig short_case(ProcedureKind procedure) {
  EvalConfig c = test::case_config(procedure);
  c.stride = 12;
  c.sgd.epochs = 1;
  c.phases.documents = 2;
  c.phases.count = 1;
  c.lora.chunk_tokens = 12;
  return c;
}

TEST_F(DeviceProcedures, ScoreFirstGivesTheTraceOfTheCpu) {
  EvalConfig c = short_case(ProcedureKind::kScoreFirstTtt);
  c.sgd.chunk_tokens = 24;
  c.sgd.grad_clip_norm = 0.05;  // always clips
  c.sgd.freeze_blocks = 1;
  expect_same_on(device(), c);
}

TEST_F(DeviceProcedures, AdaptersAndPhasesGiveTheTraceOfTheCpu) {
  EvalConfig c = short_case(ProcedureKind::kPhasedTtt);
  c.phases.order = "stream";
  c.lora.weight_decay = 0.1;
  c.lora.all_projections = true;
  c.sgd.chunk_tokens = 16;
  c.sgd.grad_clip_norm = 0.0;
  expect_same_on(device(), c);
}

TEST_F(DeviceProcedures, AdaptersThatStartAnewGiveTheTraceOfTheCpu) {
  expect_same_on(device(), short_case(ProcedureKind::kLoraTtt));
}

TEST_F(DeviceProcedures, TheNeuralCacheGivesTheTraceOfTheCpu) {
  EvalConfig c = short_case(ProcedureKind::kNeuralCache);
  c.cache.tokens = 30;  // old entries are forgotten
  expect_same_on(device(), c);
}

TEST_F(DeviceProcedures, CountsAndTemperatureGiveTheTraceOfTheCpu) {
  EvalConfig c = short_case(ProcedureKind::kNgram);
  c.temperature = 0.9;
  expect_same_on(device(), c);
}

/// What is kept on one executor goes on with the same bits on another: the archive of a probe.
TEST_F(DeviceProcedures, AStateKeptOnTheCpuGoesOnOnADevice) {
  SgdConfig config;
  config.lr = 0.05;
  const auto tokens = test::random_tokens(2 * 12 + 1, 23, 8);
  const auto step = [&](model::Gpt& model, Sgd& sgd) {
    ASSERT_TRUE(accumulate(model, cut_rows(tokens, 2, 12, 12)));
    ASSERT_TRUE(sgd.step(config.lr, 24));
  };
  const auto visit = [](Archive archive, model::Gpt& model, Sgd& sgd) {
    for (auto& p : model.parameters()) archive.parameter(*p);
    sgd.archive(archive);
    return archive.take();
  };
  test::EvalSubject on_cpu(5), on_device(6);
  ASSERT_TRUE(on_device.model.use(device()));
  Sgd first(config, on_cpu.model), second(config, on_device.model);
  step(on_cpu.model, first);
  const auto kept = visit(Archive::saving(), on_cpu.model, first);
  visit(Archive::loading(kept), on_device.model, second);
  step(on_cpu.model, first);
  step(on_device.model, second);
  EXPECT_TRUE(visit(Archive::saving(), on_device.model, second) == visit(Archive::saving(), on_cpu.model, first));
}

TEST_F(DeviceProcedures, WhatCannotBeUsedEndsWithTheErrorOfTheCpu) {
  EvalConfig exploding = short_case(ProcedureKind::kScoreFirstTtt), plain = short_case(ProcedureKind::kWindows);
  exploding.sgd.chunk_tokens = 24;
  exploding.sgd.lr = 1e38;
  exploding.sgd.grad_clip_norm = 0.0;
  const auto infinite = [](model::Gpt& model) {
    model.find("blocks.1.attn_scale")->value()[3] = num::float_of(num::kInfinityBits);
  };
  for (const auto& [config, prepare] :
       {std::pair<EvalConfig, std::function<void(model::Gpt&)>>{exploding, {}}, {plain, infinite}}) {
    const Traced expected = run(config, kernels::cpu_executor(), prepare), got = run(config, device(), prepare);
    EXPECT_EQ(expected.error.substr(0, 2), "65");
    EXPECT_EQ(got.error, expected.error);
    device().watch(false);
  }
}

TEST(DishonestProcedures, AreRefusedOnADevice) {
  test::SimulatedExecutor executor(uint64_t{6});
  EvalConfig c = test::case_config(ProcedureKind::kDishonest);
  c.dishonest.trick = "mask_off_by_one";
  EXPECT_EQ(run(c, executor).error,
            "69 eval.procedure: dishonest procedures are there to be found out, on --device cpu alone");
}

}  // namespace
}  // namespace fairway::eval

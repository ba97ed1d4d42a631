#include "engine/train/memory_plan.h"

#include <fmt/format.h>

#include "engine/model/gpt.h"
#include "engine/optim/optimizer.h"
#include "kernels/accumulate.h"
#include "kernels/cuda/device_executor.h"
#include "kernels/cuda/plan_queue.h"

namespace fairway::train {
namespace {

std::string gigabytes(size_t bytes) { return fmt::format("{:.2f} GB", static_cast<double>(bytes) * 1e-9); }

}  // namespace

std::string MemoryPlan::summary() const {
  std::string text;
  for (const Part& p : parts) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", p.what, gigabytes(p.bytes));
  return text;
}

Result<MemoryPlan> plan_memory(const submission::Submission& s, int64_t tokens_at_once) {
  FAIRWAY_CHECK(tokens_at_once > 0 && tokens_at_once % s.train.seq_len == 0);
  cuda::DeviceExecutor<cuda::PlanQueue> executor;
  const cuda::PlanQueue& queue = executor.queue();
  MemoryPlan plan;
  const auto part = [&](const char* what) {
    plan.parts.push_back({what, queue.live_bytes() - plan.total_bytes});
    plan.total_bytes = queue.live_bytes();
    plan.peak_bytes = queue.peak_bytes();
  };
  model::Gpt model(s.model);
  optim::Optimizer optimizer(s.optimizer, model);
  FAIRWAY_TRY(model.use(executor));
  for (auto& p : model.parameters()) p->clear_gradient();
  part("parameters and accumulators");
  optimizer.use(executor);
  part("optimizer state");
  const std::vector<uint16_t> tokens(static_cast<size_t>(tokens_at_once));
  model::Batch batch;
  batch.sequences = tokens_at_once / s.train.seq_len;
  batch.length = s.train.seq_len;
  batch.inputs = tokens;
  batch.targets = tokens;
  batch.training = true;
  batch.term_limit = batch.chunk_term_limit = kernels::term_limit(1);
  FAIRWAY_TRY(model.tape().forward(batch));
  part("forward pass");
  FAIRWAY_TRY(model.tape().backward());
  part("backward pass");
  if (s.optimizer.clip_scope == optim::ClipScope::kWorker) {
    FAIRWAY_TRY(optimizer.take_worker(1));
    FAIRWAY_TRY(optimizer.step_of_workers(0, 1.0, 1));
  } else {
    FAIRWAY_TRY(optimizer.step(0, 1.0, 1));
  }
  part("optimizer step");
  return plan;
}

Status check_memory(const submission::Submission& s, kernels::Executor& executor) {
  if (executor.memory() == nullptr) return {};
  FAIRWAY_ASSIGN(const MemoryPlan plan, plan_memory(s, s.train.grad_chunk_tokens));
  const size_t free = executor.memory()->free_bytes();
  if (plan.peak_bytes <= free) return {};
  return Error{
      Errc::kUnavailable, "--device cuda",
      fmt::format("{} of device memory are wanted ({}), {} are free; use a device with more memory, or --device cpu",
                  gigabytes(plan.peak_bytes), plan.summary(), gigabytes(free))};
}

}  // namespace fairway::train

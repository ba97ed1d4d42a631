/// One training step of a submission: forward and backward of one chunk per chunk of the step, then the optimizer, timed
/// apart. Prints the digest of the state beside the times, so a fast wrong answer shows.
///
/// Usage: bench_step DIR REPETITIONS [cuda]. On a GPU the times end when the device has finished;
/// engine/bench/torch_baseline.py is the same step in PyTorch.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "engine/train/memory_plan.h"
#include "engine/train/state.h"
#include "engine/train/trainer.h"
#include "kernels/accumulate.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cuda/cuda_executor.h"
#include "kernels/cuda/device.h"

namespace {

using namespace fairway;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v[v.size() / 2];
}

Status run(const std::string& directory, int repetitions, kernels::Executor& executor) {
  FAIRWAY_ASSIGN(auto s, submission::load_submission(directory));
  FAIRWAY_ASSIGN(auto files, train::open_data(s, true));
  FAIRWAY_ASSIGN(auto stream, data::TokenStream::open(files.train_paths, static_cast<int32_t>(s.model.vocab_size)));
  FAIRWAY_ASSIGN(auto batches, data::TrainingBatches::create(std::move(stream), {s.train.batch_tokens, s.train.seq_len, s.train.virtual_workers}));
  model::Gpt model(s.model);
  model.initialise(s.train.seeds[0]);
  optim::Optimizer optimizer(s.optimizer, model);
  FAIRWAY_TRY(train::check_memory(s, executor));
  FAIRWAY_TRY(model.use(executor));
  optimizer.use(executor);
  const auto finished = [&]() -> Status {
    return executor.sound() ? Status() : Error{Errc::kData, s.name, "a value cannot be used"};
  };
  const size_t tokens = static_cast<size_t>(s.train.batch_tokens), chunk = static_cast<size_t>(s.train.grad_chunk_tokens);
  std::vector<uint16_t> inputs(tokens), targets(tokens);
  std::vector<double> passes, updates;
  for (int step = 0; step <= repetitions; ++step) {
    FAIRWAY_TRY(batches.fill_step(step, inputs, targets));
    auto start = Clock::now();
    for (auto& p : model.parameters()) p->clear_gradient();
    for (size_t at = 0; at < tokens; at += chunk) {
      model::Batch b;
      b.length = s.train.seq_len;
      b.sequences = static_cast<int64_t>(chunk) / b.length;
      b.inputs = std::span(inputs).subspan(at, chunk);
      b.targets = std::span(targets).subspan(at, chunk);
      b.training = true;
      b.term_limit = kernels::term_limit(s.train.batch_tokens);
      b.chunk_term_limit = kernels::term_limit(s.chunks_per_step());
      FAIRWAY_TRY(model.tape().forward(b));
      FAIRWAY_TRY(model.tape().backward());
    }
    FAIRWAY_TRY(finished());
    const double pass = seconds_since(start);
    start = Clock::now();
    FAIRWAY_TRY(optimizer.step(step, 1.0, s.train.batch_tokens));
    FAIRWAY_TRY(finished());
    if (step == 0) continue;  // warms caches and allocators
    passes.push_back(pass);
    updates.push_back(seconds_since(start));
  }
  model.download();
  optimizer.download();
  auto start = Clock::now();
  const Digest root = train::state_root(model, optimizer, repetitions + 1);
  const double commit = seconds_since(start);
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  const std::string where = executor.memory() != nullptr ? "cuda" : kernels::isa_name(kernels::active_isa());
  fmt::print("{{\"submission\": \"{}\", \"isa\": \"{}\", \"threads\": {}, \"tokens\": {}, \"forward_backward_s\": {:.3f}, \"optimizer_s\": {:.3f}, "
             "\"commitment_s\": {:.3f}, \"peak_rss_mib\": {}, \"state_root\": \"{}\"}}\n",
             s.name, where, kernels::thread_count(), tokens, median(passes), median(updates), commit,
             usage.ru_maxrss / 1024, hex(root));
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const bool cuda = argc == 4 && std::string(argv[3]) == "cuda";
  if ((argc != 3 && !cuda) || std::atoi(argv[2]) < 1) {
    std::fprintf(stderr, "usage: bench_step DIR REPETITIONS [cuda]\n");
    return 64;
  }
  const Status status = [&]() -> Status {
    try {
      const std::unique_ptr<kernels::Executor> device = cuda ? cuda::cuda_executor() : nullptr;
      return run(argv[1], std::atoi(argv[2]), cuda ? *device : kernels::cpu_executor());
    } catch (const cuda::DeviceError& e) {
      return Error{Errc::kUnavailable, "cuda", e.what()};
    }
  }();
  if (!status) {
    std::fprintf(stderr, "bench_step: %s\n", status.error().message().c_str());
    return status.error().exit_code();
  }
  return 0;
}

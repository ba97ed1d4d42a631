#include "engine/train/trainer.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "engine/base/file.h"
#include "engine/base/interrupt.h"
#include "engine/base/progress.h"
#include "engine/base/stopwatch.h"
#include "engine/model/checked.h"
#include "engine/train/gradient_sums.h"
#include "engine/train/memory_plan.h"
#include "kernels/accumulate.h"

namespace fairway::train {
namespace {


/// One run, its parts and its loop.
class Run {
 public:
  Run(const submission::Submission& s, const Validation* validation, const TrainOptions& options, comm::Communicator& c, RunLog* log,
      data::TrainingBatches batches)
      : s_(s), validation_(validation), options_(options), comm_(c), log_(log), batches_(std::move(batches)),
        executor_(*options.executor), model_(std::make_unique<model::Gpt>(s.model)), optimizer_(s.optimizer, *model_),
        sums_(*model_, c) {}

  Result<Trained> execute() {
    FAIRWAY_TRY(start());
    FAIRWAY_TRY(comm::agree(comm_, check_memory(s_, executor_)));
    FAIRWAY_TRY(comm::agree(comm_, use(executor_)));
    const int64_t last = last_step();
    const uint64_t first = static_cast<uint64_t>(progress_.completed_steps);
    std::unique_ptr<fairway::Progress> line;
    if (options_.show_progress && comm_.is_root()) {
      line = std::make_unique<fairway::Progress>("training", static_cast<uint64_t>(last) - first, "tok",
                                                 static_cast<double>(s_.train.batch_tokens));
    }
    running_ = Stopwatch();
    bool wallclock_cap = false;
    while (progress_.completed_steps < last && !wallclock_cap) {
      FAIRWAY_TRY(one_step());
      const int64_t done = progress_.completed_steps;
      wallclock_cap = wallclock_limited() && agreed_elapsed_ms() >= static_cast<int64_t>(s_.schedule.max_wallclock_seconds * 1000.0);
      const bool final_step = done == last || wallclock_cap;
      FAIRWAY_TRY(after_step(final_step));
      if (line) line->update(static_cast<uint64_t>(done) - first);
      if (comm_.max(interrupted() ? 1 : 0) != 0 && !final_step) {
        download();
        if (!options_.state_dir.empty()) FAIRWAY_TRY(save(checkpoint_path(options_.state_dir)));
        return Error{Errc::kInterrupted, fmt::format("step {}", done),
                     options_.state_dir.empty() ? "interrupted" : "interrupted; the state is saved, run the same command to go on"};
      }
    }
    if (wallclock_cap) {
      FAIRWAY_TRY(print(fmt::format("stopping_early: wallclock_cap train_time:{}ms step:{}/{}", progress_.elapsed_ms,
                                    progress_.completed_steps, s_.schedule.iterations)));
    }
    FAIRWAY_TRY(use(kernels::cpu_executor()));
    // A segment between two commitments ends with the weights as they are.
    if (!options_.stop_step && s_.optimizer.averages.final_weights != optim::FinalWeights::kLast) {
      const bool averaged = optimizer_.averages().apply();
      FAIRWAY_TRY(print(averaged ? "final weights: averaged" : "final weights: the last ones, no snapshot was taken"));
    }
    return Trained{std::move(model_), std::move(progress_), last_loss_};
  }

 private:
  /// Collective: a full disk under rank 0's log stops every rank.
  Status print(const std::string& text) {
    Status status;
    if (log_ != nullptr && comm_.is_root()) status = log_->line(text);
    return comm::agree(comm_, std::move(status));
  }

  Status use(kernels::Executor& executor) {
    FAIRWAY_TRY(model_->use(executor));
    loss_.use(executor.memory(), "the loss");
    optimizer_.use(executor);
    return {};
  }

  /// Parameters and state on the host are those of the executor.
  void download() {
    model_->download();
    optimizer_.download();
  }

  /// A replay follows its record, whatever the clock says.
  bool wallclock_limited() const {
    return s_.schedule.kind == optim::ScheduleKind::kWallclock && options_.replay_multipliers == nullptr;
  }

  int64_t last_step() const {
    int64_t last = s_.schedule.iterations;
    if (options_.replay_multipliers != nullptr) last = static_cast<int64_t>(options_.replay_multipliers->size());
    return options_.stop_step.value_or(last);
  }

  Status start() {
    model_->initialise(options_.seed);
    optimizer_.averages().begin();
    progress_.seed = options_.seed;
    std::string from = options_.start_state;
    if (from.empty() && options_.resume && !options_.state_dir.empty()) {
      const std::string checkpoint = checkpoint_path(options_.state_dir);
      int64_t exists = std::filesystem::exists(checkpoint) ? 1 : 0;
      if (comm_.max(exists) != 0) from = checkpoint;
    }
    if (!from.empty()) {
      auto loaded = read_state(from, s_.config_sha256, options_.seed, *model_, optimizer_);
      if (comm_.max(loaded ? 0 : 1) != 0) {
        return loaded ? Error{Errc::kData, from, "another rank cannot read the checkpoint"} : loaded.error();
      }
      Status committed;
      if (options_.start_root && state_root(*model_, optimizer_, loaded->completed_steps) != *options_.start_root) {
        committed = Error{Errc::kData, from, "this state is not the one the record committed to"};
      }
      FAIRWAY_TRY(comm::agree(comm_, std::move(committed)));
      progress_ = std::move(*loaded);
      for (size_t k = 0; k < progress_.multipliers.size(); ++k) {
        late_qat_ = late_qat_ || s_.begins_qat(static_cast<int64_t>(k), progress_.multipliers[k]);
      }
      base_elapsed_ms_ = progress_.elapsed_ms;
      FAIRWAY_TRY(print(fmt::format("resuming from step:{} {}", progress_.completed_steps, from)));
    }
    loss_.resize(1);
    const size_t rows = static_cast<size_t>(batches_.rows_per_step()), length = static_cast<size_t>(s_.train.seq_len);
    inputs_.resize(rows * length);
    targets_.resize(rows * length);
    return {};
  }

  /// Elapsed milliseconds as rank 0 sees them, on every rank.
  int64_t agreed_elapsed_ms() {
    int64_t elapsed = base_elapsed_ms_ + running_.milliseconds() - paused_ms_;
    comm_.broadcast(std::as_writable_bytes(std::span(&elapsed, 1)));
    return elapsed;
  }

  double multiplier() {
    const int64_t k = progress_.completed_steps;
    if (options_.replay_multipliers != nullptr) return (*options_.replay_multipliers)[static_cast<size_t>(k)];
    if (s_.schedule.kind == optim::ScheduleKind::kSteps) return optim::multiplier_by_steps(s_.schedule, k);
    return optim::multiplier_by_wallclock(s_.schedule, k, static_cast<double>(agreed_elapsed_ms()));
  }

  /// This rank's share of the chunks [first, end): those with c mod size = rank, in fresh accumulators. Adds the loss of its tokens to loss_.
  /// `summing`: sums over ranks begin as the last chunk's backward pass finishes accumulators.
  Status my_chunks(int64_t first, int64_t end, bool fake_quantise, bool summing) {
    for (auto& p : model_->parameters()) p->clear_gradient();
    const int64_t rows_per_chunk = s_.train.grad_chunk_tokens / s_.train.seq_len;
    const size_t chunk = static_cast<size_t>(s_.train.grad_chunk_tokens);
    const int64_t size = comm_.size();
    for (int64_t c = first + (comm_.rank() - first % size + size) % size; c < end; c += size) {
      model::Batch batch;
      batch.sequences = rows_per_chunk;
      batch.length = s_.train.seq_len;
      batch.inputs = std::span(inputs_).subspan(static_cast<size_t>(c) * chunk, chunk);
      batch.targets = std::span(targets_).subspan(static_cast<size_t>(c) * chunk, chunk);
      batch.training = true;
      batch.fake_quantise = fake_quantise;
      batch.term_limit = kernels::term_limit(s_.train.batch_tokens * s_.model.terms_per_parameter());
      batch.chunk_term_limit = kernels::term_limit(s_.chunks_per_step() * s_.model.terms_per_parameter());
      FAIRWAY_TRY(model_->tape().forward(batch));
      executor_.add_losses(model_->tape().nll_data(), model_->tape().nll_count(), loss_.data());
      if (summing && c + size >= end) {
        FAIRWAY_TRY(model_->tape().backward([&](model::Parameter& p) { sums_.begin(p); }));
      } else {
        FAIRWAY_TRY(model_->tape().backward());
      }
    }
    return {};
  }

  /// The chunks of all ranks; accumulators then hold the sums. Collective: every rank takes part in the sums, whatever it has met, and an error of
  /// one stops all.
  Status summed_chunks(int64_t first, int64_t end, bool fake_quantise) {
    bool summing = true;
    return stop_together(model::checked(executor_, [&] {
      Status status = my_chunks(first, end, fake_quantise, summing);
      if (summing) sums_.finish();
      summing = false;
      return status;
    }));
  }

  Status stop_together(Status mine) {
    if (comm_.max(mine ? 0 : 1) == 0 || !mine) return mine;
    return Error{Errc::kData, fmt::format("rank {}", comm_.rank()), "stopped because another rank met an error"};
  }

  Status one_step() {
    const int64_t step = progress_.completed_steps;
    auto at_step = [&](const Error& e) {
      return Error{e.code, fmt::format("step {}: {}", step + 1, e.where), e.what};
    };
    const double lambda = multiplier();
    // Once below its threshold, late quantisation stays on, though a multiplier that follows a clock may rise again.
    late_qat_ = late_qat_ || s_.begins_qat(step, lambda);
    // Per-worker clipping needs each virtual worker's own sums: the workers take turns with the accumulators.
    const bool by_worker = s_.optimizer.clip_scope == optim::ClipScope::kWorker;
    const int64_t workers = by_worker ? s_.train.virtual_workers : 1, chunks = s_.chunks_per_step() / workers;
    loss_.zero();
    if (Status s = stop_together(batches_.fill_step(step, inputs_, targets_)); !s) return at_step(s.error());
    for (int64_t w = 0; w < workers; ++w) {
      if (Status s = summed_chunks(w * chunks, (w + 1) * chunks, late_qat_); !s) return at_step(s.error());
      if (!by_worker) continue;
      if (Status s = optimizer_.take_worker(s_.train.batch_tokens / workers); !s) return at_step(s.error());
    }
    loss_.download();
    comm_.sum(loss_.host());
    Status updated = by_worker ? optimizer_.step_of_workers(step, lambda, workers) : optimizer_.step(step, lambda, s_.train.batch_tokens);
    if (!updated) return at_step(updated.error());
    last_loss_ = static_cast<double>(loss_.host()[0]) * 0x1p-26 / static_cast<double>(s_.train.batch_tokens);
    progress_.completed_steps = step + 1;
    progress_.multipliers.push_back(lambda);
    return {};
  }

  Status after_step(bool final_step) {
    const int64_t done = progress_.completed_steps;
    progress_.elapsed_ms = agreed_elapsed_ms();
    const double average = static_cast<double>(progress_.elapsed_ms) / static_cast<double>(done);
    if (done <= 10 || done % s_.train.log_every == 0 || final_step) {
      FAIRWAY_TRY(print(fmt::format("step:{}/{} train_loss:{:.4f} train_time:{}ms step_avg:{:.2f}ms", done, s_.schedule.iterations,
                                    last_loss_, progress_.elapsed_ms, average)));
    }
    const int64_t every = s_.replay.commit_every;
    const bool commit = final_step || (every > 0 && done % every == 0);
    const bool checkpoint = !options_.state_dir.empty() && s_.replay.checkpoint_every > 0 && done % s_.replay.checkpoint_every == 0;
    if (commit || checkpoint) download();
    if (commit) {
      progress_.commitments.push_back({done, state_root(*model_, optimizer_, done)});
      if (s_.replay.keep_states && !options_.state_dir.empty()) {
        FAIRWAY_TRY(save((std::filesystem::path(options_.state_dir) / fmt::format("step_{:08}.state", done)).string()));
      }
    }
    if (validation_ != nullptr && (final_step || (s_.train.val_every > 0 && done % s_.train.val_every == 0))) {
      const Stopwatch paused;
      FAIRWAY_TRY(validate(average));
      paused_ms_ += paused.milliseconds();
    }
    if (checkpoint) FAIRWAY_TRY(save(checkpoint_path(options_.state_dir)));
    return {};
  }

  /// The standard evaluation of the weights as they are, for the log.
  Status validate(double average) {
    eval::EvalRun run{{eval::Method::kStandard, s_.eval.seq_len, s_.eval.seq_len}, validation_->set.tokens(),
                      &validation_->accounting, &comm_, {}, ""};
    FAIRWAY_ASSIGN(eval::Scores scores, eval::evaluate(*model_, run));
    return print(fmt::format("step:{}/{} val_loss:{:.4f} val_bpb:{:.4f} train_time:{}ms step_avg:{:.2f}ms", progress_.completed_steps,
                             s_.schedule.iterations, scores.val_loss, scores.val_bpb, progress_.elapsed_ms, average));
  }

  Status save(const std::string& path) {
    Status status;
    if (comm_.is_root()) status = write_state(path, s_.config_sha256, *model_, optimizer_, progress_);
    if (comm_.max(status ? 0 : 1) != 0) {
      return status ? Error{Errc::kIo, path, "rank 0 could not write the state"} : status.error();
    }
    return {};
  }

  const submission::Submission& s_;
  const Validation* validation_;
  const TrainOptions& options_;
  comm::Communicator& comm_;
  RunLog* log_;
  data::TrainingBatches batches_;
  kernels::Executor& executor_;
  std::unique_ptr<model::Gpt> model_;
  optim::Optimizer optimizer_;
  GradientSums sums_;
  Progress progress_;
  std::vector<uint16_t> inputs_, targets_;
  kernels::Mirrored<int64_t> loss_;  ///< of the step's tokens on this rank, in units of 2^-26
  Stopwatch running_;
  int64_t base_elapsed_ms_ = 0, paused_ms_ = 0;
  double last_loss_ = 0.0;
  bool late_qat_ = false;
};

}  // namespace

std::string checkpoint_path(const std::string& state_dir) {
  return (std::filesystem::path(state_dir) / "checkpoint.state").string();
}

Result<Trained> train(const submission::Submission& s, const DataFiles& files, const Validation* validation,
                      const TrainOptions& options, comm::Communicator& communicator, RunLog* log) {
  if (s.chunks_per_step() % communicator.size() != 0) {
    return Error{Errc::kUsage, "mpirun -np", fmt::format("{} ranks do not divide the {} chunks of a step", communicator.size(),
                                                         s.chunks_per_step())};
  }
  if (options.replay_multipliers != nullptr && options.stop_step.value_or(0) > static_cast<int64_t>(options.replay_multipliers->size())) {
    return Error{Errc::kData, "schedule", fmt::format("step {} was asked for, but only {} multipliers are recorded", *options.stop_step,
                                                      options.replay_multipliers->size())};
  }
  Status made;
  if (!options.state_dir.empty() && communicator.is_root()) made = make_directories(options.state_dir);
  FAIRWAY_TRY(comm::agree(communicator, std::move(made)));
  FAIRWAY_ASSIGN(auto stream, data::TokenStream::open(files.train_paths, static_cast<int32_t>(s.model.vocab_size)));
  FAIRWAY_ASSIGN(auto batches, data::TrainingBatches::create(std::move(stream), {s.train.batch_tokens, s.train.seq_len, s.train.virtual_workers}));
  Run run(s, validation, options, communicator, log, std::move(batches));
  return run.execute();
}

}  // namespace fairway::train

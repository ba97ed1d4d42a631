#include "engine/replay/pipeline.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <bit>
#include <filesystem>
#include <optional>

#include "engine/base/file.h"
#include "engine/base/stopwatch.h"
#include "engine/quant/artifact_size.h"
#include "engine/replay/calibration.h"
#include "engine/replay/version.h"
#include "engine/train/memory_plan.h"
#include "kernels/cpu/parallel.h"

namespace fairway::replay {
namespace {

std::string join(const std::string& directory, const std::string& name) { return (std::filesystem::path(directory) / name).string(); }

/// "int8+zlib", "int6+zstd", "int6+lzma": the words of the upstream logs.
std::string size_label(const submission::Submission& s) {
  const int bits = std::bit_width(static_cast<unsigned>(s.scheme.block_rule().limit)) + 1;
  const char* codec = s.codec.codec == quant::Codec::kZlib ? "zlib" : s.codec.codec == quant::Codec::kZstd ? "zstd" : "lzma";
  return fmt::format("int{}+{}", bits, codec);
}

Status log_header(const submission::Submission& s, const train::DataFiles& files, const train::Validation& validation,
                  const model::Gpt& model, uint64_t seed, int ranks, const std::string& device, RunLog& log) {
  FAIRWAY_TRY(log.line(version_line()));
  FAIRWAY_TRY(log.line("device:" + device));
  FAIRWAY_TRY(log.line(fmt::format("val_bpb:enabled tokenizer_kind=sentencepiece tokenizer_path={}", s.data.tokenizer)));
  FAIRWAY_TRY(log.line(fmt::format("train_loader:dataset:{} train_shards:{}", s.data.prefix, files.train_paths.size())));
  FAIRWAY_TRY(log.line(fmt::format("val_loader:shards pattern={}/{}_val_*.bin tokens:{}", s.data.path, s.data.prefix, validation.set.usable())));
  FAIRWAY_TRY(log.line(fmt::format("model_params:{}", model.parameter_count())));
  FAIRWAY_TRY(log.line(fmt::format("world_size:{} grad_accum_steps:{}", ranks, s.chunks_per_step() / ranks)));
  FAIRWAY_TRY(log.line(fmt::format("attention_mode:gqa num_heads:{} num_kv_heads:{}", s.model.heads, s.model.kv_heads)));
  FAIRWAY_TRY(log.line(fmt::format("tie_embeddings:{} embed_lr:{} head_lr:{} matrix_lr:{} scalar_lr:{}", s.model.tied_head ? "True" : "False",
                                   s.optimizer.tied_embed_lr, s.model.tied_head ? "0.0" : fmt::format("{}", s.optimizer.head_lr),
                                   s.optimizer.matrix_lr, s.optimizer.scalar_lr)));
  FAIRWAY_TRY(log.line(fmt::format("train_batch_tokens:{} train_seq_len:{} iterations:{} warmup_steps:0 max_wallclock_seconds:{:.3f}",
                                   s.train.batch_tokens, s.train.seq_len, s.schedule.iterations,
                                   s.schedule.kind == optim::ScheduleKind::kWallclock ? s.schedule.max_wallclock_seconds : 0.0)));
  return log.line(fmt::format("seed:{}", seed));
}

Status log_sizes(const submission::Submission& s, const Packed& p, RunLog& log) {
  const uint64_t code = s.config_text.size();
  struct rusage usage {};
  getrusage(RUSAGE_SELF, &usage);
  FAIRWAY_TRY(log.line(fmt::format("peak memory allocated: {} MiB", usage.ru_maxrss / 1024)));
  FAIRWAY_TRY(log.line(fmt::format("Serialized model: {} bytes", p.float32_bytes)));
  FAIRWAY_TRY(log.line(fmt::format("Code size: {} bytes", code)));
  FAIRWAY_TRY(log.line(fmt::format("Total submission size: {} bytes", p.float32_bytes + code)));
  FAIRWAY_TRY(log.line(fmt::format("Serialized model {}: {} bytes (payload:{} container:{} payload_ratio:{:.2f}x)", size_label(s),
                                   p.compressed.size(), p.payload_bytes, p.container.size(),
                                   static_cast<double>(p.float32_bytes) / static_cast<double>(p.payload_bytes))));
  for (const auto& [storage, error] : p.errors) {
    FAIRWAY_TRY(log.line(fmt::format("quantization_error storage:{} tensors:{} relative_squared:{:.6e}", storage, error.tensors, error.relative())));
  }
  return log.line(fmt::format("Total submission size {}: {} bytes", size_label(s), p.compressed.size() + code));
}

std::string machine() {
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  return host;
}

/// The container as every rank has it: rank 0 packed it, the others receive it.
Status share_container(const submission::Submission& s, const model::Gpt& model, comm::Communicator& c, std::vector<std::byte>& container) {
  if (c.size() == 1) return {};
  FAIRWAY_ASSIGN(auto entries, planned_entries(model, s));
  container.resize(quant::container_size_bytes(entries));
  c.broadcast(container);
  return {};
}

}  // namespace

std::vector<std::string> result_lines(const submission::Submission& s, const eval::Scores& scores, int64_t eval_ms) {
  std::string tag = size_label(s);
  tag[tag.find('+')] = '_';
  const bool standard = s.eval.method == eval::Method::kStandard && s.eval.procedure == eval::ProcedureKind::kWindows;
  const char* kind = standard ? "roundtrip" : s.eval.procedure == eval::ProcedureKind::kWindows ? "sliding_window" : eval::procedure_name(s.eval.procedure);
  const std::string label = fmt::format("final_{}_{}", tag, kind);
  const std::string stride = standard ? "" : fmt::format(" stride:{}", s.eval.stride);
  return {fmt::format("{} val_loss:{:.4f} val_bpb:{:.4f}{} eval_time:{}ms", label, scores.val_loss, scores.val_bpb, stride, eval_ms),
          fmt::format("{}_exact val_loss:{:.8f} val_bpb:{:.8f}", label, scores.val_loss, scores.val_bpb)};
}

std::span<const uint16_t> scored_tokens(const submission::Submission& s, const train::Validation& validation) {
  return s.eval.whole_stream() ? validation.set.all_tokens() : validation.set.tokens();
}

Result<eval::Scores> score(model::Gpt& model, const submission::Submission& s, const train::Validation& validation, const ScoreFiles& files,
                           bool show_progress, comm::Communicator& communicator) {
  std::optional<AtomicFile> scores_file, trace_file;
  auto open = [&](const std::string& path, std::optional<AtomicFile>& file) -> Status {
    if (path.empty() || !communicator.is_root()) return {};
    FAIRWAY_ASSIGN(AtomicFile opened, AtomicFile::create(path));
    file.emplace(std::move(opened));
    return {};
  };
  FAIRWAY_TRY(comm::agree(communicator, open(files.scores, scores_file)));
  FAIRWAY_TRY(comm::agree(communicator, open(files.trace, trace_file)));
  eval::EvalRun run{s.eval, scored_tokens(s, validation), &validation.accounting, &communicator, {}, show_progress ? "scoring" : ""};
  if (scores_file) run.sink = [&](std::span<const float> nll) { return scores_file->write(std::as_bytes(nll)); };
  if (!files.trace.empty()) {
    run.trace.config_sha256 = s.config_sha256;
    run.trace.container_sha256 = files.container_sha256;
    run.trace.sink = [&](std::span<const std::byte> bytes) { return trace_file->write(bytes); };
  }
  FAIRWAY_ASSIGN(eval::Scores scores, eval::evaluate(model, run));
  FAIRWAY_TRY(comm::agree(communicator, scores_file ? scores_file->commit() : Status()));
  FAIRWAY_TRY(comm::agree(communicator, trace_file ? trace_file->commit() : Status()));
  return scores;
}

namespace {

/// What an earlier run left in the folder: a record of the same run, or nothing that a fresh start would meet.
Result<std::optional<Record>> previous_run(const submission::Submission& s, const train::DataFiles& files, const RunOptions& options,
                                           comm::Communicator& c) {
  const std::string record_path = join(options.out_dir, "replay.json");
  const std::string checkpoint = train::checkpoint_path(join(options.out_dir, "state"));
  if (options.resume && c.max(std::filesystem::exists(record_path) ? 1 : 0) != 0) {
    FAIRWAY_ASSIGN(LoadedRecord loaded, read_record(options.out_dir));
    const Identity& i = loaded.record.identity;
    const bool same = i.config_sha256 == s.config_sha256 && i.seed == options.seed && i.train_sha256 == files.train_sha256 &&
                      i.val_sha256 == files.val_sha256 && i.tokenizer_sha256 == files.tokenizer_sha256;
    if (same) return std::optional<Record>(std::move(loaded.record));
    return Error{Errc::kData, record_path, "is the record of another run (config, seed or data differ); use another --out, or --fresh to replace it"};
  }
  if (!options.resume) {
    Status status;
    if (c.is_root()) {
      for (const std::string& path : {record_path, checkpoint}) {
        std::error_code error;
        std::filesystem::remove(path, error);
        if (error) status = Error{Errc::kIo, path, "cannot be removed: " + error.message()};
      }
    }
    if (c.max(status ? 0 : 1) != 0) return status ? Error{Errc::kIo, options.out_dir, "rank 0 could not remove the earlier run"} : status.error();
  }
  return std::optional<Record>();
}

}  // namespace

Status check_executor(const submission::Submission& s, kernels::Executor& executor) {
  if (executor.memory() == nullptr) return {};
  FAIRWAY_TRY(eval::check_executor(s.eval, executor));
  return train::check_memory(s, executor);
}

Result<Record> run_seed(const submission::Submission& s, const train::DataFiles& files, const train::Validation& validation,
                        const RunOptions& options, comm::Communicator& c) {
  FAIRWAY_TRY(comm::agree(c, check_executor(s, *options.executor)));
  FAIRWAY_ASSIGN(std::optional<Record> previous, previous_run(s, files, options, c));
  if (previous) return std::move(*previous);
  std::optional<RunLog> log;
  auto open_log = [&]() -> Status {
    if (!c.is_root()) return {};
    FAIRWAY_TRY(make_directories(options.out_dir));
    FAIRWAY_ASSIGN(RunLog opened, RunLog::open(join(options.out_dir, "train.log"),
                                               options.resume ? RunLog::Existing::kAppend : RunLog::Existing::kReplace,
                                               options.echo ? RunLog::Echo::kStdout : RunLog::Echo::kNo));
    log.emplace(std::move(opened));
    FAIRWAY_TRY(log_header(s, files, validation, model::Gpt(s.model), options.seed, c.size(), options.device, *log));
    return {};
  };
  FAIRWAY_TRY(comm::agree(c, open_log()));
  RunLog* log_pointer = log ? &*log : nullptr;

  train::TrainOptions training;
  training.seed = options.seed;
  training.state_dir = join(options.out_dir, "state");
  training.resume = options.resume;
  training.replay_multipliers = options.replay_multipliers;
  training.show_progress = options.show_progress;
  training.executor = options.executor;
  FAIRWAY_ASSIGN(train::Trained trained, train::train(s, files, &validation, training, c, log_pointer));

  Packed packed;
  Status status;
  const std::string artifact = join(options.out_dir, artifact_file_name(s.codec));
  if (c.is_root()) {
    status = [&]() -> Status {
      // Passes for calibration belong to the device, quantising and packing to the host.
      FAIRWAY_TRY(trained.model->use(*options.executor));
      FAIRWAY_ASSIGN(auto hessians, calibrate(*trained.model, s, files.train_paths));
      FAIRWAY_TRY(trained.model->use(kernels::cpu_executor()));
      FAIRWAY_ASSIGN(packed, pack(*trained.model, s, hessians));
      FAIRWAY_TRY(log_sizes(s, packed, *log));
      FAIRWAY_TRY(write_file_atomic(artifact, packed.compressed));
      // What is scored is what was written: the file is read back and decompressed.
      FAIRWAY_ASSIGN(packed.container, read_artifact(artifact, s, *trained.model));
      if (sha256(packed.container) != packed.container_sha256) return Error{Errc::kIo, artifact, "what was read back is not what was written"};
      return {};
    }();
  }
  if (c.max(status ? 0 : 1) != 0) return status ? Error{Errc::kIo, artifact, "rank 0 could not pack the model"} : status.error();
  FAIRWAY_TRY(share_container(s, *trained.model, c, packed.container));
  FAIRWAY_TRY(unpack(packed.container, s, artifact, *trained.model));

  const Stopwatch evaluation;
  FAIRWAY_TRY(comm::agree(c, trained.model->use(*options.executor)));
  FAIRWAY_ASSIGN(eval::Scores scores, score(*trained.model, s, validation,
                                             {join(options.out_dir, "scores.f32"), join(options.out_dir, "trace.bin"), sha256(packed.container)},
                                             options.show_progress, c));
  const int64_t eval_ms = evaluation.milliseconds();

  Record record;
  Identity& i = record.identity;
  i.name = s.name;
  i.config_sha256 = s.config_sha256;
  i.train_sha256 = files.train_sha256;
  i.val_sha256 = files.val_sha256;
  i.tokenizer_sha256 = files.tokenizer_sha256;
  i.seed = options.seed;
  i.steps = trained.progress.completed_steps;
  i.multipliers_sha256 = sha256(std::as_bytes(std::span(std::as_const(trained.progress.multipliers))));
  i.commitments = trained.progress.commitments;
  i.container_sha256 = sha256(packed.container);
  i.eval_method = s.eval.procedure == eval::ProcedureKind::kWindows ? eval::method_name(s.eval.method) : eval::procedure_name(s.eval.procedure);
  i.eval_seq_len = s.eval.seq_len;
  i.eval_stride = s.eval.stride;
  i.eval_tokens = scores.tokens;
  i.eval_bytes = scores.bytes;
  i.scores_sha256 = scores.stream_sha256;
  i.val_loss = scores.val_loss;
  i.val_bpb = scores.val_bpb;
  if (!c.is_root()) return record;

  for (const std::string& line : result_lines(s, scores, eval_ms)) FAIRWAY_TRY(log->line(line));
  FAIRWAY_ASSIGN(auto codec, quant::codec_identity(s.codec));
  FAIRWAY_ASSIGN(const Digest trace_sha256, sha256_file(join(options.out_dir, "trace.bin")));
  const quant::ArtifactSize size{s.config_text.size(), packed.compressed.size()};
  record.informative = {{"artifact_sha256", hex(sha256(packed.compressed))},
                        {"artifact_bytes", std::to_string(packed.compressed.size())},
                        {"code_bytes", std::to_string(size.code_bytes)},
                        {"total_bytes", std::to_string(size.total_bytes())},
                        {"codec", codec.name},
                        {"codec_version", codec.version},
                        {"codec_known_answer", hex(codec.known_answer)},
                        {"val_loss", fmt::format("{:.8f}", scores.val_loss)},
                        {"val_bpb", fmt::format("{:.8f}", scores.val_bpb)},
                        {"train_loss", fmt::format("{:.4f}", trained.last_train_loss)},
                        {"train_ms", std::to_string(trained.progress.elapsed_ms)},
                        {"eval_ms", std::to_string(eval_ms)},
                        {"trace_sha256", hex(trace_sha256)},
                        {"threads", std::to_string(kernels::thread_count())},
                        {"ranks", std::to_string(c.size())},
                        {"machine", machine()},
                        {"tool", version_line()}};
  FAIRWAY_TRY(log->line(fmt::format("identity:{}", hex(identity_digest(i)))));
  FAIRWAY_TRY(write_record(options.out_dir, record, trained.progress.multipliers));
  // The run is complete; a checkpoint left behind would let a later run of the same folder skip the training.
  std::error_code ignored;
  std::filesystem::remove(train::checkpoint_path(training.state_dir), ignored);
  return record;
}

}  // namespace fairway::replay

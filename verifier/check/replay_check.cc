#include "verifier/check/replay_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "engine/base/file.h"
#include "engine/quant/artifact_size.h"
#include "kernels/num/philox.h"
#include "verifier/check/trace_check.h"
#include "verifier/probe/causality.h"

namespace fairway::verifier {
namespace {

namespace fs = std::filesystem;

std::string short_hex(const Digest& d) { return hex(d).substr(0, 16); }

/// Inputs of the record against the files here: without the same inputs nothing else can be compared.
bool check_inputs(const submission::Submission& s, const train::DataFiles& files, const replay::Identity& i, Report& report) {
  struct Input {
    const char* what;
    bool same;
  };
  const Input inputs[] = {{"fairway.toml", i.config_sha256 == s.config_sha256},
                          {"training shards", files.train_sha256.empty() || i.train_sha256 == files.train_sha256},
                          {"validation shards", i.val_sha256 == files.val_sha256},
                          {"tokenizer", i.tokenizer_sha256 == files.tokenizer_sha256}};
  std::string different;
  for (const Input& input : inputs) {
    if (!input.same) different += (different.empty() ? "" : ", ") + std::string(input.what);
  }
  if (different.empty()) {
    report.add("replay.inputs", Verdict::kPass, "config, shards and tokenizer are those of the record");
    return true;
  }
  report.add("replay.inputs", Verdict::kFail, fmt::format("not the inputs of the record: {}", different));
  return false;
}

void check_bytes(const submission::Submission& s, const std::string& artifact, uint64_t bytes, Report& report) {
  const quant::ArtifactSize size{s.config_text.size(), bytes};
  report.add("artifact.bytes", size.within_limit() ? Verdict::kPass : Verdict::kFail,
             fmt::format("{} bytes of model ({}) + {} bytes of config = {} of {}", size.model_bytes, fs::path(artifact).filename().string(),
                         size.code_bytes, size.total_bytes(), quant::kArtifactLimitBytes));
}

void check_scores(const replay::Identity& i, const eval::Scores& scores, Report& report) {
  const bool same = scores.stream_sha256 == i.scores_sha256 && scores.val_loss == i.val_loss && scores.val_bpb == i.val_bpb &&
                    scores.tokens == i.eval_tokens && scores.bytes == i.eval_bytes;
  report.add("replay.scores", same ? Verdict::kPass : Verdict::kFail,
             same ? fmt::format("{} predictions scored again, every nll the same bits", scores.tokens) : "the scores differ from the record",
             fmt::format("val_loss {:.8f} val_bpb {:.8f} scores {}", i.val_loss, i.val_bpb, short_hex(i.scores_sha256)),
             fmt::format("val_loss {:.8f} val_bpb {:.8f} scores {}", scores.val_loss, scores.val_bpb, short_hex(scores.stream_sha256)));
}

/// One artifact with its model, as scoring and probing need it.
Result<std::vector<std::byte>> load_artifact(const submission::Submission& s, const std::string& artifact, model::Gpt& model) {
  FAIRWAY_ASSIGN(auto container, replay::read_artifact(artifact, s, model));
  FAIRWAY_TRY(replay::unpack(container, s, artifact, model));
  return container;
}

std::string artifact_of(const submission::Submission& s, const ReplayOptions& options) {
  return (fs::path(options.record_dir) / replay::artifact_file_name(s.codec)).string();
}

/// The recorded trace, and that of scoring again.
Status check_traces(const submission::Submission& s, const train::Validation& validation, const ReplayOptions& options, const replay::Identity& i,
                    const std::string& again, Report& report) {
  const std::string recorded = (fs::path(options.record_dir) / "trace.bin").string();
  const TraceSubject subject{replay::scored_tokens(s, validation), i.config_sha256, i.container_sha256, i.scores_sha256};
  FAIRWAY_ASSIGN(const MappedFile own, MappedFile::open(again));
  if (!fs::exists(recorded)) {
    report.add("trace.replay", Verdict::kSkip, "the record holds no trace.bin; the trace of scoring again is audited alone");
    return check_trace(own.bytes(), again, subject, report);
  }
  FAIRWAY_ASSIGN(const MappedFile file, MappedFile::open(recorded));
  FAIRWAY_TRY(check_trace(file.bytes(), recorded, subject, report));
  compare_traces(file.bytes(), own.bytes(), report);
  return {};
}

Status replay_eval(const submission::Submission& s, const train::Validation& validation, const ReplayOptions& options,
                            const replay::Record& record, comm::Communicator& c, Report& report) {
  model::Gpt model(s.model);
  const std::string artifact = artifact_of(s, options);
  FAIRWAY_ASSIGN(const auto container, load_artifact(s, artifact, model));
  std::error_code ignored;
  check_bytes(s, artifact, fs::file_size(artifact, ignored), report);
  const Digest found = sha256(container);
  const bool same = found == record.identity.container_sha256;
  report.add("replay.artifact", same ? Verdict::kPass : Verdict::kFail,
             same ? "the artifact decompresses to the recorded container" : "the artifact holds another container than recorded",
             short_hex(record.identity.container_sha256), short_hex(found));
  const std::string again = (fs::path(options.work_dir) / "eval" / "trace.bin").string();
  FAIRWAY_TRY(comm::agree(c, c.is_root() ? make_directories(fs::path(again).parent_path().string()) : Status()));
  FAIRWAY_ASSIGN(eval::Scores scores, replay::score(model, s, validation, {"", again, found}, options.show_progress, c));
  check_scores(record.identity, scores, report);
  if (!c.is_root() || !options.trace) return {};
  return check_traces(s, validation, options, record.identity, again, report);
}

/// On a model of its own: scoring may train the one it is given.
Status probe_artifact(const submission::Submission& s, const train::Validation& validation, const ReplayOptions& options, Report& report) {
  model::Gpt model(s.model);
  FAIRWAY_ASSIGN(const auto container, load_artifact(s, artifact_of(s, options), model));
  (void)container;
  ProbeOptions probes;
  probes.cuts = options.probe_cuts;
  probes.seed = options.choice_seed;
  return probe_causality(model, s.eval, replay::scored_tokens(s, validation), probes, report);
}

/// Commitments whose predecessor's state is there, as (state file or empty for the start, from step, to commitment).
struct Segment {
  std::string state;
  int64_t from = 0;
  std::optional<Digest> root;  ///< what the record committed to at `from`; none at the start
  train::Commitment to;
};

std::vector<Segment> kept_segments(const replay::Identity& i, const std::string& record_dir) {
  std::vector<Segment> segments;
  Segment next;
  for (const train::Commitment& c : i.commitments) {
    next.to = c;
    if (next.from == 0 || !next.state.empty()) segments.push_back(next);
    const fs::path kept = fs::path(record_dir) / "state" / fmt::format("step_{:08}.state", c.step);
    next = {fs::exists(kept) ? kept.string() : "", c.step, c.root, {}};
  }
  return segments;
}

Status replay_spot(const submission::Submission& s, const train::DataFiles& files, const ReplayOptions& options,
                            const replay::LoadedRecord& loaded, comm::Communicator& c, Report& report) {
  const replay::Identity& i = loaded.record.identity;
  std::vector<Segment> segments = kept_segments(i, options.record_dir);
  if (segments.size() < 2 && i.commitments.size() > 1) {
    return Error{Errc::kNoInput, (fs::path(options.record_dir) / "state").string(),
                 "no kept states: --level spot needs a run with replay.keep_states = true; use --level full instead"};
  }
  const int64_t count = std::min<int64_t>(options.segments, static_cast<int64_t>(segments.size()));
  for (int64_t n = 0; n < count; ++n) {
    const uint32_t draw = num::philox(options.choice_seed, static_cast<uint64_t>(n), 0, num::kPurposeSpotCheck).word[0];
    const size_t pick = draw % segments.size();
    const Segment segment = segments[pick];
    segments.erase(segments.begin() + static_cast<std::ptrdiff_t>(pick));
    train::TrainOptions training;
    training.seed = i.seed;
    training.start_state = segment.state;
    training.start_root = segment.root;
    training.resume = false;
    training.stop_step = segment.to.step;
    training.replay_multipliers = &loaded.multipliers;
    training.show_progress = options.show_progress;
    FAIRWAY_ASSIGN(train::Trained trained, train::train(s, files, nullptr, training, c, nullptr));
    const Digest root = trained.progress.commitments.back().root;
    const bool same = root == segment.to.root;
    report.add("replay.segment", same ? Verdict::kPass : Verdict::kFail,
               fmt::format("steps {} to {} run again (choice seed {}): {}", segment.from + 1, segment.to.step, options.choice_seed,
                           same ? "the same state to the last bit" : "another state than committed"),
               short_hex(segment.to.root), short_hex(root));
  }
  return {};
}

Status replay_full(const submission::Submission& s, const train::DataFiles& files, const train::Validation& validation,
                            const ReplayOptions& options, const replay::LoadedRecord& loaded, comm::Communicator& c, Report& report) {
  const replay::Identity& expected = loaded.record.identity;
  replay::RunOptions run;
  run.seed = expected.seed;
  run.out_dir = options.work_dir;
  run.echo = false;
  run.show_progress = options.show_progress;
  run.replay_multipliers = &loaded.multipliers;
  FAIRWAY_ASSIGN(replay::Record again, replay::run_seed(s, files, validation, run, c));
  if (!c.is_root()) return {};
  // Codec output is not compared: the container is (N11).
  const auto& recorded = loaded.record.informative;
  auto field = [](const replay::Informative& i, const char* key) {
    auto at = i.find(key);
    return at == i.end() ? std::string() : at->second;
  };
  if (field(recorded, "codec_known_answer") != field(again.informative, "codec_known_answer")) {
    report.add("replay.codec", Verdict::kPass,
               "this machine's codec writes other bytes than the recorded one; the uncompressed containers are compared instead",
               field(recorded, "codec") + " " + field(recorded, "codec_version"),
               field(again.informative, "codec") + " " + field(again.informative, "codec_version"));
  }
  const auto different = replay::differences(expected, again.identity);
  const Digest a = replay::identity_digest(expected), b = replay::identity_digest(again.identity);
  report.add("replay.identity", a == b ? Verdict::kPass : Verdict::kFail,
             a == b ? fmt::format("trained again, seed {}: {} commitments, container and scores identical to the last bit", expected.seed,
                                  expected.commitments.size())
                    : fmt::format("trained again, seed {}: {} fields differ, the first: {}", expected.seed, different.size(),
                                  different.empty() ? "-" : different.front()),
             short_hex(a), short_hex(b));
  return {};
}

/// What a verification of this record depends on: its files, by content.
Result<std::string> record_digest(const submission::Submission& s, const ReplayOptions& options) {
  Sha256 all;
  for (const std::string& name : {std::string("replay.json"), std::string("schedule.f64"), std::string("trace.bin"), replay::artifact_file_name(s.codec)}) {
    const std::string path = (fs::path(options.record_dir) / name).string();
    const auto digest = sha256_file(path);
    if (!digest && digest.error().code != Errc::kNoInput) return digest.error();
    const std::string line = name + " " + (digest ? hex(*digest) : "none") + "\n";
    all.update(line.data(), line.size());
  }
  return hex(all.finish());
}

/// The parts of one seed's checks: each is run, or taken from the journal. Rank 0's journal decides for all ranks.
class Parts {
 public:
  Parts(const ReplayOptions& options, uint64_t seed, std::string record_sha256, comm::Communicator& c, Report& report)
      : journal_(options.journal), prefix_(fmt::format("seed_{}/", seed)), record_sha256_(std::move(record_sha256)), c_(c), report_(report) {}

  /// `check` adds to the report it is given. Collective.
  template <class Run>
  Status run(const char* name, const Run& check) {
    const std::vector<Check>* kept = journal_ != nullptr ? journal_->find(prefix_ + name, record_sha256_) : nullptr;
    Report part;
    if (c_.max(kept != nullptr ? 1 : 0) == 0) {
      Status done = check(part);
      if (done && journal_ != nullptr) done = journal_->keep(prefix_ + name, record_sha256_, part.checks);
      FAIRWAY_TRY(comm::agree(c_, std::move(done)));
    } else if (kept != nullptr) {
      part.checks = *kept;
    }
    for (Check& c : part.checks) report_.add(std::move(c));
    return {};
  }

 private:
  Journal* journal_;
  std::string prefix_, record_sha256_;
  comm::Communicator& c_;
  Report& report_;
};

}  // namespace

Status check_replay(const submission::Submission& s, const train::DataFiles& files, const train::Validation& validation,
                             const ReplayOptions& options, comm::Communicator& c, Report& report) {
  FAIRWAY_ASSIGN(replay::LoadedRecord loaded, replay::read_record(options.record_dir));
  if (!check_inputs(s, files, loaded.record.identity, report)) return {};
  FAIRWAY_ASSIGN(std::string record_sha256, record_digest(s, options));
  Parts parts(options, loaded.record.identity.seed, std::move(record_sha256), c, report);
  if (options.level == Level::kSpot) {
    FAIRWAY_TRY(parts.run("spot", [&](Report& part) { return replay_spot(s, files, options, loaded, c, part); }));
  }
  FAIRWAY_TRY(parts.run("eval", [&](Report& part) { return replay_eval(s, validation, options, loaded.record, c, part); }));
  if (options.probe_cuts > 0) {
    FAIRWAY_TRY(parts.run("probes", [&](Report& part) { return c.is_root() ? probe_artifact(s, validation, options, part) : Status(); }));
  }
  if (options.level == Level::kFull) {
    FAIRWAY_TRY(parts.run("full", [&](Report& part) { return replay_full(s, files, validation, options, loaded, c, part); }));
  }
  return {};
}

}  // namespace fairway::verifier

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "engine/base/file.h"
#include "engine/replay/pipeline.h"
#include "engine/replay/version.h"
#include "verifier/audit/audit.h"
#include "verifier/audit/folder/directory_folder.h"
#include "verifier/check/journal.h"
#include "verifier/check/replay_check.h"
#include "verifier/cli/command.h"
#include "verifier/cli/ledger.h"
#include "verifier/cli/verify_baseline.h"

namespace fairway::cli {
namespace {

namespace po = boost::program_options;
namespace fs = std::filesystem;

/// What a person wants to see beside the checks.
void print_record(const replay::Record& r) {
  const auto& i = r.identity;
  auto info = [&](const char* key) {
    auto at = r.informative.find(key);
    return at == r.informative.end() ? std::string("-") : at->second;
  };
  std::fputs(fmt::format("seed {}: {} steps, train_loss {}, val_loss {:.8f}, val_bpb {:.8f}\n"
                         "  bytes     {} of 16000000 (model {}, code {})\n"
                         "  container {}\n  scores    {}\n  state     {}\n  identity  {}\n",
                         i.seed, i.steps, info("train_loss"), i.val_loss, i.val_bpb, info("total_bytes"), info("artifact_bytes"), info("code_bytes"),
                         hex(i.container_sha256), hex(i.scores_sha256), i.commitments.empty() ? "-" : hex(i.commitments.back().root),
                         hex(replay::identity_digest(i)))
                 .c_str(),
             stdout);
}

/// A verification as it was asked for.
struct Request {
  const po::variables_map& v;
  verifier::Format format;
  std::string directory, out, log;
  std::string level;
  BaselineRequest baseline;
  std::optional<Recording> recording;
  std::optional<verifier::Journal> journal;

  bool text() const { return format == verifier::Format::kText; }
  bool quiet() const { return v.count("quiet") != 0; }
  std::string file(const char* name) const { return (fs::path(out) / name).string(); }
  bool resumes() const { return v.count("resume") != 0 && fs::exists(file("verification.json")); }

  /// Begins a journal, or goes on with the one that is there. `question` is what the report depends on.
  Status open_journal(verifier::Journal::Question question) {
    const std::string path = file("verification.json");
    question["tool"] = replay::version();
    question["level"] = level;
    question["baseline"] = baseline.description();
    question["ledger"] = recording ? recording->log.name : "";
    if (resumes()) {
      FAIRWAY_ASSIGN(journal, verifier::Journal::resume(path, question));
      return {};
    }
    const verifier::Journal::Question notes = {{"ledger_size", std::to_string(recording ? recording->size : 0)},
                                               {"baseline_log_size", std::to_string(baseline.log_size)}};
    FAIRWAY_ASSIGN(journal, verifier::Journal::start(path, std::move(question), notes));
    return {};
  }

  /// The size of a log when the verification was begun. Needs the journal.
  uint64_t size_noted(const char* name) const {
    const auto at = journal->notes().find(name);
    return at == journal->notes().end() ? 0 : std::strtoull(at->second.c_str(), nullptr, 10);
  }

  /// Prints the report and, where --ledger asks for it, keeps it and records it, once.
  ExitCode conclude(const verifier::Report& report, std::span<const replay::Record> records) const {
    FAIRWAY_TRY(print_reports(format, {&report, 1}));
    if (recording) {
      const std::string json = verifier::to_json(report), path = file("report.json");
      FAIRWAY_TRY(write_file_atomic(path, json));
      FAIRWAY_ASSIGN(const std::string said,
                     record_verification(v, log, path, report, json, level, records, size_noted("ledger_size")));
      // Beside the document of another format standard output holds nothing.
      std::fputs(said.c_str(), text() ? stdout : stderr);
    }
    return report.exit_code();
  }
};

/// What can be known of a record of another engine without running it.
ExitCode audit_record(Request& request) {
  if (request.recording) FAIRWAY_TRY(request.open_journal({{"directory", request.directory}}));
  audit::AuditOptions options;
  const uint64_t end = request.journal ? request.size_noted("baseline_log_size") : request.baseline.log_size;
  FAIRWAY_ASSIGN(auto baseline, choose_baseline(request.v, request.baseline, request.recording, {}, {}, end));
  if (baseline.scores) options.baseline = std::move(baseline.scores->sample);
  FAIRWAY_ASSIGN(auto folder, audit::open_directory(request.directory));
  return request.conclude(audit::audit(*folder, options), {});
}

std::string joined(const std::vector<Digest>& digests) {
  std::string text;
  for (const Digest& d : digests) text += (text.empty() ? "" : " ") + hex(d);
  return text;
}

verifier::Journal::Question question_of(const submission::Submission& s, const train::DataFiles& files,
                                        const verifier::ReplayOptions& options, const std::vector<uint64_t>& seeds) {
  return {{"config", hex(s.config_sha256)},
          {"training shards", joined(files.train_sha256)},
          {"validation shards", joined(files.val_sha256)},
          {"tokenizer", hex(files.tokenizer_sha256)},
          {"seeds", fmt::format("{}", fmt::join(seeds, " "))},
          {"segments", std::to_string(options.segments)},
          {"choice-seed", std::to_string(options.choice_seed)},
          {"probes", std::to_string(options.probe_cuts)},
          {"trace", options.trace ? "audited" : "not audited"}};
}

ExitCode replay_submission(Request& request, verifier::ReplayOptions options, comm::Communicator& communicator) {
  const po::variables_map& v = request.v;
  const bool root = communicator.is_root();
  FAIRWAY_ASSIGN(auto s, load_submission(v));
  FAIRWAY_ASSIGN(auto files, train::open_data(s, options.level != verifier::Level::kEval));
  FAIRWAY_ASSIGN(auto validation, train::open_validation(s, files));
  std::vector<uint64_t> seeds = s.train.seeds;
  if (v.count("seed") != 0) seeds = {v["seed"].as<uint64_t>()};
  const auto work_of = [&](uint64_t seed) { return fs::path(request.out) / "again" / fmt::format("seed_{}", seed); };

  std::string record = v["record"].as<std::string>();
  if (record.empty()) {
    const fs::path own = fs::path(s.directory) / "record";
    record = (fs::exists(own) ? own : fs::path(request.out) / "first").string();
  }
  const auto record_of = [&](uint64_t seed) { return fs::path(record) / fmt::format("seed_{}", seed); };
  for (const uint64_t seed : seeds) {
    if (options.level == verifier::Level::kFull || fs::exists(record_of(seed) / "replay.json")) continue;
    return Error{Errc::kNoInput, record_of(seed).string(), "no record here; run `fairway train` first, or use --level full"};
  }

  Baseline baseline;
  const auto prepare = [&]() -> Status {
    if (!root) return {};
    for (const uint64_t seed : seeds) {
      // A replay that was completed proves nothing about the machine it is asked on now; one that was cut off goes on.
      std::error_code error;
      if (!request.resumes() && fs::exists(work_of(seed) / "replay.json")) fs::remove_all(work_of(seed), error);
      if (error) return Error{Errc::kIo, work_of(seed).string(), "cannot be removed: " + error.message()};
    }
    FAIRWAY_TRY(request.open_journal(question_of(s, files, options, seeds)));
    options.journal = &*request.journal;
    FAIRWAY_ASSIGN(baseline, choose_baseline(v, request.baseline, request.recording, s.config_sha256,
                                             {files.val_sha256, files.tokenizer_sha256, 0, 0},
                                             request.size_noted("baseline_log_size")));
    return {};
  };
  FAIRWAY_TRY(comm::agree(communicator, prepare()));

  std::vector<replay::Record> records;
  verifier::Report report;
  report.subject_path = s.directory;
  report.subject_sha256 = hex(s.config_sha256);
  for (uint64_t seed : seeds) {
    options.record_dir = record_of(seed).string();
    options.work_dir = work_of(seed).string();
    if (!fs::exists(fs::path(options.record_dir) / "replay.json")) {
      replay::RunOptions run;
      run.seed = seed;
      run.out_dir = options.record_dir;
      run.echo = request.text() && !request.quiet();
      run.show_progress = options.show_progress;
      FAIRWAY_ASSIGN(auto first, replay::run_seed(s, files, validation, run, communicator));
      (void)first;
    }
    FAIRWAY_TRY(verifier::check_replay(s, files, validation, options, communicator, report));
    FAIRWAY_ASSIGN(auto loaded, replay::read_record(options.record_dir));
    if (request.text() && root) print_record(loaded.record);
    records.push_back(std::move(loaded.record));
  }
  if (!root) return 0;  // rank 0 has the verdict
  if (request.text() && records.size() > 1) std::fputs((seeds_line(records) + "\n").c_str(), stdout);
  report.add(compare_seeds(baseline, records));
  return request.conclude(report, records);
}

}  // namespace

ExitCode run_verify(const Arguments& arguments) {
  Parser parser("fairway verify DIR [--record OUT] [--level eval|spot|full] [options]",
                "Replays a submission and compares every bit with its record, the folder `fairway train` wrote.\n"
                "  eval  load the artifact and score again\n"
                "  spot  also run randomly chosen segments between committed states again (needs replay.keep_states)\n"
                "  full  also train again from the start\n"
                "The score trace is audited, and the evaluation is run with other tokens after some cuts: no score before a cut may change.\n"
                "Every seed of the submission is verified; their scores are tested against a baseline, given or an earlier entry of a log.\n"
                "Without a record, --level full makes one first: the submission is trained twice. Training that was cut off always goes on\n"
                "from its last checkpoint. With --resume, the same command also takes over the checks that are done: it ends with the\n"
                "report, and the one ledger entry, of a verification that was not cut off; where none was begun it begins one. Without\n"
                "--resume every check is made again. With --ledger the report is kept as --out/report.json and a signed statement of it\n"
                "becomes an entry of that log, whatever the verdict. A record folder of another engine (submission.json, no fairway.toml)\n"
                "cannot be replayed and is audited.");
  parser.options().add_options()
      ("record", po::value<std::string>()->default_value(""), "folder of the recorded runs; default: DIR/record, else --out")
      ("level", po::value<std::string>()->default_value("full"), "eval, spot or full")
      ("out", po::value<std::string>()->default_value(""), "folder for what is computed; default: ./out/<name>")
      ("resume", "go on with the verification that was cut off in --out")
      ("seed", po::value<uint64_t>(), "only this seed")
      ("segments", po::value<int64_t>()->default_value(2), "spot: how many segments")
      ("choice-seed", po::value<uint64_t>()->default_value(0), "draws the segments of spot, and the cuts and tokens of the probes")
      ("probes", po::value<int64_t>(), "causality probes: how many cuts; default 2 (eval), 4 (spot), 8 (full); 0: none")
      ("no-trace", "do not audit the score trace")
      ("ledger", po::value<std::string>()->default_value(""), "folder of a log (`fairway ledger init`) that receives what was found")
      ("quiet", "no log of the first training, no progress line");
  add_baseline(parser);
  add_report(parser);
  add_submission(parser);
  add_statement_key(parser);
  add_key(parser);
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  if (v.count("explain") != 0) return explain(v);
  const std::string level_name = v["level"].as<std::string>();
  if (level_name != "eval" && level_name != "spot" && level_name != "full") return Error{Errc::kUsage, "--level", "must be eval, spot or full"};
  FAIRWAY_ASSIGN(const verifier::Format format, report_format(v));
  if (v["segments"].as<int64_t>() < 1) return Error{Errc::kUsage, "--segments", "must be at least 1"};
  verifier::ReplayOptions options;
  options.level = level_name == "eval" ? verifier::Level::kEval : level_name == "spot" ? verifier::Level::kSpot : verifier::Level::kFull;
  options.segments = v["segments"].as<int64_t>();
  options.choice_seed = v["choice-seed"].as<uint64_t>();
  options.show_progress = v.count("quiet") == 0;
  options.trace = v.count("no-trace") == 0;
  options.probe_cuts = options.level == verifier::Level::kEval ? 2 : options.level == verifier::Level::kSpot ? 4 : 8;
  if (v.count("probes") != 0) options.probe_cuts = v["probes"].as<int64_t>();
  if (options.probe_cuts < 0 || options.probe_cuts > 10000) return Error{Errc::kUsage, "--probes", "must be from 0 to 10000"};

  Request request{v, format, v["DIR"].as<std::string>(), v["out"].as<std::string>(), v["ledger"].as<std::string>(), level_name, {}, {}, {}};
  if (request.out.empty()) request.out = (fs::path("out") / fs::path(request.directory).lexically_normal().filename()).string();
  const fs::path directory(request.directory);
  const bool replayable = fs::exists(directory / "fairway.toml") || !fs::exists(directory / "submission.json");
  FAIRWAY_ASSIGN(auto communicator, ranks_on_cpu());
  FAIRWAY_ASSIGN(request.baseline, baseline_request(v));
  if (!request.log.empty() && communicator->is_root()) {
    FAIRWAY_ASSIGN(request.recording, can_record(v, request.log));
  }
  if (replayable) return replay_submission(request, options, *communicator);
  request.level = "audit";
  return communicator->is_root() ? audit_record(request) : ExitCode(0);
}

}  // namespace fairway::cli

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "engine/base/file.h"
#include "engine/replay/pipeline.h"
#include "verifier/audit/audit.h"
#include "verifier/audit/folder/directory_folder.h"
#include "verifier/check/replay_check.h"
#include "verifier/cli/command.h"
#include "verifier/cli/ledger.h"

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

/// Prints the report and, where --ledger asks for it, keeps it and records it.
ExitCode conclude(const po::variables_map& v, verifier::Format format, const std::string& out, const verifier::Report& report,
                  const std::string& level, std::span<const replay::Record> records) {
  FAIRWAY_TRY(print_reports(format, {&report, 1}));
  if (const std::string log = v["ledger"].as<std::string>(); !log.empty()) {
    const std::string text = verifier::to_json(report), path = (fs::path(out) / "report.json").string();
    FAIRWAY_TRY(make_directories(out));
    FAIRWAY_TRY(write_file_atomic(path, text));
    FAIRWAY_ASSIGN(const std::string said, record_verification(v, log, path, report, text, level, records));
    // Beside the document of another format standard output holds nothing.
    std::fputs(said.c_str(), format == verifier::Format::kText ? stdout : stderr);
  }
  return report.exit_code();
}

}  // namespace

ExitCode run_verify(const Arguments& arguments) {
  Parser parser("fairway verify DIR [--record OUT] [--level eval|spot|full] [options]",
                "Replays a submission and compares every bit with its record, the folder `fairway train` wrote.\n"
                "  eval  load the artifact and score again\n"
                "  spot  also run randomly chosen segments between committed states again (needs replay.keep_states)\n"
                "  full  also train again from the start\n"
                "The score trace is audited, and the evaluation is run with other tokens after some cuts: no score before a cut may change.\n"
                "Without a record, --level full makes one first: the submission is trained twice. Interrupted work goes on when the\n"
                "same command is given again. With --ledger the report is kept as --out/report.json and a signed statement of it becomes\n"
                "an entry of that log, whatever the verdict. A record folder of another engine (submission.json, no fairway.toml) cannot be\n"
                "replayed and is audited.");
  parser.options().add_options()
      ("record", po::value<std::string>()->default_value(""), "folder of the recorded runs; default: DIR/record, else --out")
      ("level", po::value<std::string>()->default_value("full"), "eval, spot or full")
      ("out", po::value<std::string>()->default_value(""), "folder for what is computed; default: ./out/<name>")
      ("seed", po::value<uint64_t>(), "only this seed")
      ("segments", po::value<int64_t>()->default_value(2), "spot: how many segments")
      ("choice-seed", po::value<uint64_t>()->default_value(0), "draws the segments of spot, and the cuts and tokens of the probes")
      ("probes", po::value<int64_t>(), "causality probes: how many cuts; default 2 (eval), 4 (spot), 8 (full); 0: none")
      ("no-trace", "do not audit the score trace")
      ("ledger", po::value<std::string>()->default_value(""), "folder of a log (`fairway ledger init`) that receives what was found")
      ("quiet", "no log of the first training, no progress line");
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
  const bool text = format == verifier::Format::kText;

  const std::string directory = v["DIR"].as<std::string>(), log = v["ledger"].as<std::string>();
  std::string out = v["out"].as<std::string>(), record = v["record"].as<std::string>();
  if (out.empty()) out = (fs::path("out") / fs::path(directory).lexically_normal().filename()).string();
  if (!fs::exists(fs::path(directory) / "fairway.toml") && fs::exists(fs::path(directory) / "submission.json")) {
    if (!log.empty()) FAIRWAY_TRY(can_record(v, log));
    FAIRWAY_ASSIGN(auto folder, audit::open_directory(directory));
    return conclude(v, format, out, audit::audit(*folder), "audit", {});
  }
  FAIRWAY_ASSIGN(auto s, load_submission(v));
  FAIRWAY_ASSIGN(auto communicator, comm::create_communicator());
  const bool print = communicator->is_root();
  if (!log.empty() && print) FAIRWAY_TRY(can_record(v, log));
  verifier::ReplayOptions options;
  options.level = level_name == "eval" ? verifier::Level::kEval : level_name == "spot" ? verifier::Level::kSpot : verifier::Level::kFull;
  options.segments = v["segments"].as<int64_t>();
  options.choice_seed = v["choice-seed"].as<uint64_t>();
  options.show_progress = v.count("quiet") == 0;
  options.trace = v.count("no-trace") == 0;
  options.probe_cuts = options.level == verifier::Level::kEval ? 2 : options.level == verifier::Level::kSpot ? 4 : 8;
  if (v.count("probes") != 0) options.probe_cuts = v["probes"].as<int64_t>();
  if (options.probe_cuts < 0 || options.probe_cuts > 10000) return Error{Errc::kUsage, "--probes", "must be from 0 to 10000"};
  FAIRWAY_ASSIGN(auto files, train::open_data(s, options.level != verifier::Level::kEval));
  FAIRWAY_ASSIGN(auto validation, train::open_validation(s, files));

  if (record.empty()) record = fs::exists(fs::path(s.directory) / "record") ? (fs::path(s.directory) / "record").string() : (fs::path(out) / "first").string();

  std::vector<uint64_t> seeds = s.train.seeds;
  if (v.count("seed") != 0) seeds = {v["seed"].as<uint64_t>()};
  std::vector<replay::Record> records;
  verifier::Report report;
  report.subject_path = s.directory;
  report.subject_sha256 = hex(s.config_sha256);
  for (uint64_t seed : seeds) {
    const std::string name = fmt::format("seed_{}", seed);
    options.record_dir = (fs::path(record) / name).string();
    options.work_dir = (fs::path(out) / "again" / name).string();
    if (!fs::exists(fs::path(options.record_dir) / "replay.json")) {
      if (options.level != verifier::Level::kFull) {
        return Error{Errc::kNoInput, options.record_dir, "no record here; run `fairway train` first, or use --level full"};
      }
      replay::RunOptions run;
      run.seed = seed;
      run.out_dir = options.record_dir;
      run.echo = text && v.count("quiet") == 0;
      run.show_progress = options.show_progress;
      FAIRWAY_ASSIGN(auto first, replay::run_seed(s, files, validation, run, *communicator));
      (void)first;
    }
    FAIRWAY_TRY(verifier::check_replay(s, files, validation, options, *communicator, report));
    FAIRWAY_ASSIGN(auto loaded, replay::read_record(options.record_dir));
    if (text && print) print_record(loaded.record);
    records.push_back(std::move(loaded.record));
  }
  return print ? conclude(v, format, out, report, level_name, records) : report.exit_code();
}

}  // namespace fairway::cli

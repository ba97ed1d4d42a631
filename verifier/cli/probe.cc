#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <random>

#include "engine/data/shard.h"
#include "engine/data/token_stream.h"
#include "engine/replay/pipeline.h"
#include "verifier/cli/command.h"
#include "verifier/cli/model_source.h"
#include "verifier/probe/black_box.h"
#include "verifier/probe/causality.h"

namespace fairway::cli {
namespace {

namespace po = boost::program_options;

/// Output matrices that begin with zeros get random initial values: a block that adds nothing to the stream can leak nothing, and
/// --init would pass whatever its attention does.
void show_leaks(model::Gpt& model) {
  for (auto& p : model.parameters()) {
    const model::InitialValue& initial = p->initial();
    if (initial.kind != model::InitialValue::Kind::kConstant || initial.factor != 0.0f || p->shape().size() < 2) continue;
    p->set_initial({model::InitialValue::Kind::kNormal, 1.0f / std::sqrt(static_cast<float>(p->columns()))});
  }
}

/// Somebody else's program: everything after "--" is its command line.
ExitCode probe_command(const Arguments& arguments, std::vector<std::string> command) {
  Parser parser("fairway probe --tokens val.bin [options] -- CMD ARGS",
                "Runs an evaluation program on a token shard, several times unchanged, then with other tokens after some cuts, and compares its\n"
                "scores; then on a drawn text that nobody can know, and bets on them. The program finds the shard at $FAIRWAY_TOKENS (or {tokens} in its arguments) and prints one nll per prediction,\n"
                "a line each, or with --binary writes binary32 to $FAIRWAY_NLL (or {nll}). verifier/probe/PROTOCOL.md tells more;\n"
                "python/fairway_probe does it in two lines.");
  parser.options().add_options()
      ("tokens", po::value<std::string>()->required(), "token shard")
      ("vocab-size", po::value<int64_t>()->default_value(0), "0: one more than the largest token of the shard")
      ("limit-tokens", po::value<int64_t>()->default_value(0), "use only so many tokens of the shard; 0: all")
      ("runs", po::value<int64_t>()->default_value(3), "identical runs for the noise floor, at least 3")
      ("cuts", po::value<int64_t>()->default_value(4), "places where the stream is changed, each in three ways")
      ("seed", po::value<uint64_t>(), "draws cuts and tokens; not given: a new one, which is printed with every finding. A program that\n"
       "could know it could know what will be changed")
      ("boundary", po::value<int32_t>()->default_value(-1), "a token that stays where it is: documents begin with it, and the program may know where\n"
       "beforehand; -1: none")
      ("rate", po::value<double>()->default_value(0.01), "chance that an honest program is called dishonest in this session")
      ("swap-vocabulary", "also put every vocabulary item at one place: a run for each")
      ("streaming", "hand tokens out only after a distribution was committed")
      ("binary", "scores come as binary32 in the file {nll}")
      ("out", po::value<std::string>()->default_value("out/probe"), "folder of its own for what the program writes; kept")
      ("timeout", po::value<int64_t>()->default_value(600), "seconds for one run")
      ("max-memory", po::value<int64_t>()->default_value(int64_t{16} << 30), "bytes of address space")
      ("max-output", po::value<int64_t>()->default_value(int64_t{1} << 30), "bytes of output")
      ("hide", po::value<std::vector<std::string>>()->default_value({}, ""), "file or folder that the program must not see, besides --tokens and --out:\n"
       "other copies of the true tokens; may be repeated")
      ("no-sandbox", "run the program with your own rights, not in bubblewrap");
  add_report(parser);
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  if (v.count("explain") != 0) return explain(v);
  FAIRWAY_ASSIGN(const verifier::Format format, report_format(v));
  if (command.empty()) return Error{Errc::kUsage, "--", "the program to run is missing after it"};
  verifier::BlackBoxOptions options;
  options.program.command = std::move(command);
  options.program.work_dir = v["out"].as<std::string>();
  options.program.sandbox = v.count("no-sandbox") == 0;
  options.program.binary = v.count("binary") != 0;
  options.program.timeout_seconds = v["timeout"].as<int64_t>();
  options.program.memory_bytes = v["max-memory"].as<int64_t>();
  options.program.output_bytes = v["max-output"].as<int64_t>();
  options.vocab = v["vocab-size"].as<int64_t>();
  options.runs = v["runs"].as<int64_t>();
  options.cuts = v["cuts"].as<int64_t>();
  options.seed = v.count("seed") != 0 ? v["seed"].as<uint64_t>() : std::random_device()();
  options.rate = v["rate"].as<double>();
  options.swap_vocabulary = v.count("swap-vocabulary") != 0;
  options.streaming = v.count("streaming") != 0;
  if (options.runs < 3 || options.runs > 1000) return Error{Errc::kUsage, "--runs", "must be from 3 to 1000"};
  if (options.cuts < 1 || options.cuts > 10000) return Error{Errc::kUsage, "--cuts", "must be from 1 to 10000"};
  if (!(options.rate > 0.0 && options.rate < 1.0)) return Error{Errc::kUsage, "--rate", "must lie between 0 and 1"};
  if (options.vocab < 0 || options.vocab > 65536) return Error{Errc::kUsage, "--vocab-size", "must be from 0 to 65536"};
  options.boundary = v["boundary"].as<int32_t>();
  if (options.boundary < -1 || options.boundary > 65535) return Error{Errc::kUsage, "--boundary", "must be a token, or -1"};
  if (options.streaming && (options.program.binary || options.swap_vocabulary)) {
    return Error{Errc::kUsage, "--streaming", "goes with neither --binary nor --swap-vocabulary: distributions are handed over whole"};
  }
  if (v["limit-tokens"].as<int64_t>() < 0) return Error{Errc::kUsage, "--limit-tokens", "must be 0, which is all, or more"};
  if (options.program.timeout_seconds < 1 || options.program.memory_bytes < 1 || options.program.output_bytes < 1) {
    return Error{Errc::kUsage, "", "--timeout, --max-memory and --max-output must be positive"};
  }
  const std::string path = v["tokens"].as<std::string>();
  options.program.hide = v["hide"].as<std::vector<std::string>>();
  if (!options.program.sandbox && !options.program.hide.empty()) return Error{Errc::kUsage, "--hide", "needs the sandbox; remove --no-sandbox"};
  for (const std::string& hidden : options.program.hide) {
    if (!std::filesystem::exists(hidden)) return Error{Errc::kNoInput, hidden, "--hide: there is no such file or folder"};
  }
  options.program.hide.push_back(path);
  const int32_t largest = options.vocab > 0 ? static_cast<int32_t>(options.vocab) : 65536;
  FAIRWAY_ASSIGN(auto set, data::ValidationSet::load(std::vector<std::string>{path}, largest, 1));
  auto tokens = set.all_tokens();
  if (const int64_t limit = v["limit-tokens"].as<int64_t>(); limit > 0) tokens = tokens.first(std::min(tokens.size(), static_cast<size_t>(limit)));
  verifier::Report report;
  report.subject_path = options.program.command.front();
  report.subject_sha256 = hex(sha256(std::as_bytes(tokens)));
  FAIRWAY_TRY(verifier::probe_program(tokens, options, report));
  FAIRWAY_TRY(print_reports(format, {&report, 1}));
  return report.exit_code();
}

}  // namespace

ExitCode run_probe(const Arguments& arguments) {
  const auto dashes = std::find(arguments.begin(), arguments.end(), "--");
  if (dashes != arguments.end()) return probe_command({arguments.begin(), dashes}, {dashes + 1, arguments.end()});
  if (std::find(arguments.begin(), arguments.end(), "--tokens") != arguments.end()) return probe_command(arguments, {});
  Parser parser("fairway probe DIR (--artifact FILE | --weights W | --init SEED) [options]\n"
                "       fairway probe --tokens val.bin [options] -- CMD ARGS   (see fairway probe --tokens FILE --help)",
                "Runs the evaluation of a submission with other tokens after some cuts and compares bits: no score before a cut may change, and\n"
                "the probabilities given to the vocabulary at a place must sum to 1. Matrices that --init would set to zero are random here, or no\n"
                "context could matter. After --: a program of somebody else's.");
  add_model_options(parser);
  parser.options().add_options()
      ("cuts", po::value<int64_t>()->default_value(8), "places where the stream is changed")
      ("swaps", po::value<int64_t>()->default_value(16), "other tokens tried in the place of a target that the evaluation was given before its score;\n"
       "0: the whole vocabulary. Each costs the steps from there to the score")
      ("probe-seed", po::value<uint64_t>()->default_value(0), "draws cuts and tokens");
  add_report(parser);
  add_submission(parser);
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  if (v.count("explain") != 0) return explain(v);
  FAIRWAY_ASSIGN(const verifier::Format format, report_format(v));
  verifier::ProbeOptions options;
  options.cuts = v["cuts"].as<int64_t>();
  options.seed = v["probe-seed"].as<uint64_t>();
  if (options.cuts < 1 || options.cuts > 10000) return Error{Errc::kUsage, "--cuts", "must be from 1 to 10000"};
  options.swaps_per_target = v["swaps"].as<int64_t>();
  if (options.swaps_per_target < 0 || options.swaps_per_target > 65536) return Error{Errc::kUsage, "--swaps", "must be from 0 to 65536"};
  FAIRWAY_TRY(one_model_source(v));
  FAIRWAY_ASSIGN(auto s, load_submission(v));
  model::Gpt model(s.model);
  show_leaks(model);
  FAIRWAY_TRY(load_model(v, s, model));
  FAIRWAY_ASSIGN(auto files, train::open_data(s, false));
  FAIRWAY_ASSIGN(auto validation, train::open_validation(s, files));
  verifier::Report report;
  report.subject_path = s.directory;
  report.subject_sha256 = hex(s.config_sha256);
  FAIRWAY_TRY(verifier::probe_causality(model, s.eval, replay::scored_tokens(s, validation), options, report));
  FAIRWAY_TRY(print_reports(format, {&report, 1}));
  return report.exit_code();
}

}  // namespace fairway::cli

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "engine/base/file.h"
#include "engine/base/stopwatch.h"
#include "engine/data/shard.h"
#include "engine/replay/import.h"
#include "engine/replay/pipeline.h"
#include "verifier/cli/command.h"
#include "verifier/cli/model_source.h"

namespace fairway::cli {
namespace po = boost::program_options;

Result<Digest> load_model(const po::variables_map& v, const submission::Submission& s, model::Gpt& model) {
  if (v.count("weights") != 0) {
    FAIRWAY_TRY(replay::import_weights(v["weights"].as<std::string>(), model));
    return Digest{};
  }
  if (v.count("init") != 0) {
    model.initialise(v["init"].as<uint64_t>());
    return Digest{};
  }
  return replay::load_artifact(v["artifact"].as<std::string>(), s, model);
}

void add_model_options(Parser& parser) {
  parser.options().add_options()
      ("artifact", po::value<std::string>(), "artifact of this submission (model.zlib, model.zst, model.xz), or of an upstream script (.ptz, .pt)")
      ("weights", po::value<std::string>(), "safetensors under the upstream names")
      ("init", po::value<uint64_t>(), "the initial weights of this seed");
}

Status one_model_source(const po::variables_map& v) {
  if (v.count("artifact") + v.count("weights") + v.count("init") == 1) return {};
  return Error{Errc::kUsage, "", "give exactly one of --artifact, --weights and --init"};
}

ExitCode run_eval(const Arguments& arguments) {
  Parser parser("fairway eval DIR (--artifact FILE | --weights W.safetensors) [options]",
                "Scores a model on the submission's validation data, or on the tokens of one shard, by the evaluation its\n"
                "fairway.toml describes. Prints the upstream result lines.");
  add_model_options(parser);
  parser.options().add_options()
      ("tokens", po::value<std::string>(), "score this shard instead of the validation set")
      ("trace-out", po::value<std::string>()->default_value(""), "write the score trace (engine/eval/TRACE.md)")
      ("nll-out", po::value<std::string>()->default_value(""), "write one binary32 nll per prediction, in scoring order");
  add_submission(parser);
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  FAIRWAY_TRY(one_model_source(v));
  FAIRWAY_ASSIGN(auto s, load_submission(v, Devices::kAny));
  model::Gpt model(s.model);
  FAIRWAY_ASSIGN(const Digest container_sha256, load_model(v, s, model));
  train::DataFiles files;
  if (v.count("tokens") != 0) {
    files.val_paths = {v["tokens"].as<std::string>()};
  } else {
    FAIRWAY_ASSIGN(files, train::open_data(s, false));
  }
  FAIRWAY_ASSIGN(auto validation, train::open_validation(s, files));
  FAIRWAY_ASSIGN(Workplace place, chosen_workplace(v));
  FAIRWAY_TRY(model.use(*place.executor));
  const Stopwatch evaluation;
  FAIRWAY_ASSIGN(auto scores, replay::score(model, s, validation, {v["nll-out"].as<std::string>(), v["trace-out"].as<std::string>(), container_sha256}, true, *place.communicator));
  const int64_t ms = evaluation.milliseconds();
  if (!place.communicator->is_root()) return 0;
  for (const std::string& line : replay::result_lines(s, scores, ms)) std::fputs((line + "\n").c_str(), stdout);
  std::fputs(fmt::format("tokens:{} bytes:{} scores_sha256:{}\n", scores.tokens, scores.bytes, hex(scores.stream_sha256)).c_str(), stdout);
  return 0;
}

ExitCode run_export(const Arguments& arguments) {
  Parser parser("fairway export DIR (--artifact FILE | --weights W | --init SEED) --out W.safetensors",
                "Writes a model's parameters as safetensors under the upstream names: tok_emb.weight as BF16, the rest as F32.\n"
                "From an artifact these are the dequantised values that are scored.");
  add_model_options(parser);
  parser.options().add_options()("out", po::value<std::string>()->required(), "file to write");
  add_submission(parser);
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  FAIRWAY_TRY(one_model_source(v));
  FAIRWAY_ASSIGN(auto s, load_submission(v));
  model::Gpt model(s.model);
  FAIRWAY_TRY(load_model(v, s, model));
  FAIRWAY_ASSIGN(auto bytes, replay::export_weights(model, s));
  FAIRWAY_TRY(write_file_atomic(v["out"].as<std::string>(), bytes));
  return 0;
}

}  // namespace fairway::cli

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <filesystem>

#include "engine/base/file.h"
#include "engine/replay/pipeline.h"
#include "engine/submission/settings.h"
#include "verifier/cli/ablation.h"
#include "verifier/cli/command.h"

namespace fairway::cli {

namespace po = boost::program_options;

namespace {

using submission::Setting;

/// The settings of one --set: assignments separated by ';'.
Result<std::vector<Setting>> settings_of(const std::string& text) {
  std::vector<Setting> settings;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(';', at), text.size());
    FAIRWAY_ASSIGN(Setting s, submission::parse_setting(text.substr(at, end - at)));
    settings.push_back(std::move(s));
    at = end + 1;
  }
  return settings;
}

/// Folder of the variant's config and runs; nothing but letters, digits and a few signs survives from its name.
std::string folder_name(size_t index, const std::string& name) {
  std::string safe;
  for (char c : name) safe += std::isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' ? c : '-';
  return fmt::format("{:02}-{}", index, safe.substr(0, 60));
}

struct Job {
  std::string name, directory;
  submission::Submission submission;
};

/// Writes DIR/fairway.toml and loads it, data and tokenizer where the original has them.
Result<Job> prepare(const submission::Submission& base, const std::string& name, const std::string& directory,
                    const std::vector<Setting>& settings) {
  const std::string original = (std::filesystem::path(base.directory) / "fairway.toml").string();
  FAIRWAY_ASSIGN(std::string text, submission::with_settings(base.config_text, original, settings));
  FAIRWAY_TRY(make_directories(directory));
  const std::string path = (std::filesystem::path(directory) / "fairway.toml").string();
  FAIRWAY_ASSIGN(AtomicFile file, AtomicFile::create(path));
  FAIRWAY_TRY(file.write(std::as_bytes(std::span<const char>(text))));
  FAIRWAY_TRY(file.commit());
  FAIRWAY_ASSIGN(auto loaded, submission::load_submission(directory, {base.data.path, base.data.tokenizer}));
  return Job{name, directory, std::move(loaded)};
}

int64_t number(const replay::Informative& informative, const char* key) { return std::stoll(informative.at(key)); }

}  // namespace

ExitCode run_ablate(const Arguments& arguments) {
  Parser parser("fairway ablate DIR --out OUT --set KEY=VALUE [--set ...] [options]",
                "Trains the submission in DIR and variants of it that differ in the named keys, each over the same "
                "seeds, and prints them beside\n"
                "each other: losses, bits per byte, bytes, time per step, Welch's t-test against the base. Each --set is one variant; several keys of "
                "one variant are separated\n"
                "by ';': --set 'model.mlp_slope=0.9;model.xsa_last_n=11'. OUT receives a folder per variant with its "
                "fairway.toml and a record per\n"
                "seed. What is complete is not trained again.");
  parser.options().add_options()("out", po::value<std::string>()->required(), "folder for the results")(
      "set", po::value<std::vector<std::string>>(), "one variant: table.key=value (or eval.ttt.key=value), more after ';'")(
      "with", po::value<std::string>(),
      "settings of the base and of every variant, for instance 'schedule.iterations=20'")(
      "seeds", po::value<std::vector<uint64_t>>()->multitoken(), "seeds instead of those in the file")(
      "bpb-per-step", po::value<double>()->default_value(0.0),
      "measured gain of one more step: adds what a variant must gain to pay for its time")(
      "budget-seconds", po::value<double>()->default_value(600.0), "training time of the account")(
      "json", "one JSON document instead of a table");
  add_submission(parser);
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  if (v.count("set") == 0)
    return Error{Errc::kUsage, "--set", "name at least one variant, for instance --set model.xsa_last_n=11"};
  const Throughput throughput{v["budget-seconds"].as<double>(), v["bpb-per-step"].as<double>()};
  if (!(throughput.budget_seconds > 0.0) || !(throughput.bpb_per_step >= 0.0)) {
    return Error{Errc::kUsage, "--bpb-per-step, --budget-seconds", "must be positive"};
  }
  FAIRWAY_ASSIGN(auto base, load_submission(v));
  std::vector<Setting> common;
  if (v.count("with") != 0) {
    FAIRWAY_ASSIGN(common, settings_of(v["with"].as<std::string>()));
  }
  const std::filesystem::path out(v["out"].as<std::string>());
  // Every config is read before the first step is trained.
  std::vector<Job> jobs;
  FAIRWAY_ASSIGN(Job base_job, prepare(base, "base", (out / folder_name(0, "base")).string(), common));
  jobs.push_back(std::move(base_job));
  for (const std::string& text : v["set"].as<std::vector<std::string>>()) {
    std::vector<Setting> settings = common;
    FAIRWAY_ASSIGN(auto own, settings_of(text));
    settings.insert(settings.end(), own.begin(), own.end());
    FAIRWAY_ASSIGN(Job job, prepare(base, text, (out / folder_name(jobs.size(), text)).string(), settings));
    jobs.push_back(std::move(job));
  }
  FAIRWAY_ASSIGN(auto communicator, ranks_on_cpu());
  std::vector<AblationVariant> variants;
  for (const Job& job : jobs) {
    FAIRWAY_ASSIGN(auto files, train::open_data(job.submission, true));
    FAIRWAY_ASSIGN(auto validation, train::open_validation(job.submission, files));
    AblationVariant variant{job.name, {}};
    const auto seeds = v.count("seeds") != 0 ? v["seeds"].as<std::vector<uint64_t>>() : job.submission.train.seeds;
    for (uint64_t seed : seeds) {
      if (communicator->is_root()) std::fputs(fmt::format("{}, seed {}\n", job.name, seed).c_str(), stderr);
      replay::RunOptions run;
      run.seed = seed;
      run.out_dir = (std::filesystem::path(job.directory) / fmt::format("seed_{}", seed)).string();
      run.echo = false;
      FAIRWAY_ASSIGN(auto record, replay::run_seed(job.submission, files, validation, run, *communicator));
      const double steps = static_cast<double>(record.identity.steps);
      variant.runs.push_back({seed, std::stod(record.informative.at("train_loss")), record.identity.val_loss,
                              record.identity.val_bpb, number(record.informative, "total_bytes"),
                              static_cast<double>(number(record.informative, "train_ms")) / steps});
    }
    variants.push_back(std::move(variant));
  }
  if (communicator->is_root()) {
    std::fputs(
        (v.count("json") != 0 ? ablation_json(variants, throughput) : ablation_table(variants, throughput)).c_str(),
        stdout);
  }
  return 0;
}

}  // namespace fairway::cli

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>

#include "engine/replay/pipeline.h"
#include "engine/train/memory_plan.h"
#include "verifier/cli/command.h"

namespace fairway::cli {

namespace po = boost::program_options;

namespace {

ExitCode print_memory_plan(const po::variables_map& v) {
  FAIRWAY_ASSIGN(auto s, submission::load_submission(v["DIR"].as<std::string>()));
  FAIRWAY_ASSIGN(const auto plan, train::plan_memory(s, s.train.grad_chunk_tokens));
  for (const auto& part : plan.parts) std::fputs(fmt::format("{:<28} {:>15} bytes\n", part.what, part.bytes).c_str(), stdout);
  std::fputs(fmt::format("{:<28} {:>15} bytes\n", fmt::format("peak, {} tokens at once", s.train.grad_chunk_tokens), plan.peak_bytes).c_str(), stdout);
  return 0;
}

}  // namespace

ExitCode run_train(const Arguments& arguments) {
  Parser parser("fairway train DIR --out OUT [options]",
                "Trains the submission in DIR for each of its seeds: OUT/seed_<N>/ receives train.log, the artifact (model.zlib or\n"
                "model.zst), scores.f32 (nll of every prediction), schedule.f64 and, last, replay.json. The log has the upstream line\n"
                "shapes. An interrupted run goes on from its last checkpoint when the same command is given again; a completed one is not repeated.\n"
                "Several ranks: mpirun -np N fairway train DIR --out OUT, with N dividing the chunks of a step; the bits are the same. With\n"
                "--device cuda each takes a GPU; a launcher that sets MASTER_ADDR, MASTER_PORT, RANK, WORLD_SIZE and LOCAL_RANK serves as well.");
  parser.options().add_options()
      ("out", po::value<std::string>()->required(), "folder for the results")
      ("seed", po::value<uint64_t>(), "train only this seed, which need not be in the file")
      ("fresh", "remove what an earlier run left and start again")
      ("plan-memory", "print how much memory a GPU needs for a step, and do nothing else; needs neither a GPU nor the data")
      ("quiet", "no log on standard output, no progress line");
  add_submission(parser);
  parser.standalone("plan-memory");
  bool help = false;
  FAIRWAY_ASSIGN(auto v, parser.parse(arguments, help));
  if (help) return 0;
  if (v.count("plan-memory") != 0) {
    if (v.count("DIR") == 0) return Error{Errc::kUsage, "", "the argument DIR is missing; see `fairway train --help`"};
    return print_memory_plan(v);
  }
  FAIRWAY_ASSIGN(auto s, load_submission(v, Devices::kAny));
  FAIRWAY_ASSIGN(Workplace place, chosen_workplace(v));
  FAIRWAY_ASSIGN(auto files, train::open_data(s, true));
  FAIRWAY_ASSIGN(auto validation, train::open_validation(s, files));
  std::vector<uint64_t> seeds = s.train.seeds;
  if (v.count("seed") != 0) seeds = {v["seed"].as<uint64_t>()};
  for (uint64_t seed : seeds) {
    replay::RunOptions run;
    run.seed = seed;
    run.out_dir = (std::filesystem::path(v["out"].as<std::string>()) / fmt::format("seed_{}", seed)).string();
    run.resume = v.count("fresh") == 0;
    run.echo = v.count("quiet") == 0;
    run.show_progress = run.echo;
    run.executor = place.executor;
    run.device = place.device;
    FAIRWAY_ASSIGN(auto record, replay::run_seed(s, files, validation, run, *place.communicator));
    if (place.communicator->is_root() && run.echo) {
      std::fputs(fmt::format("record:{}/replay.json identity:{}\n", run.out_dir, hex(replay::identity_digest(record.identity))).c_str(), stdout);
    }
  }
  return 0;
}

}  // namespace fairway::cli

/// The command line: picks a command, prints its error in one line, turns it into an exit code.
#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "engine/base/interrupt.h"
#include "engine/replay/version.h"
#include "kernels/cuda/device.h"
#include "kernels/self_test.h"
#include "verifier/cli/command.h"
#include "verifier/cli/wait_policy.h"


namespace fairway::cli {

const std::vector<Command>& commands() {
  static const std::vector<Command> list = {
      {"ablate", "train variants of a submission and put them beside each other", run_ablate},
      {"audit", "judge a record folder of the challenge without running its code", run_audit},
      {"data", "make token shards and tokenizers, look into shards", run_data},
      {"train", "train a submission: artifact and replay record, the same bits anywhere", run_train},
      {"eval", "score an artifact or weights", run_eval},
      {"export", "write weights as safetensors", run_export},
      {"ledger", "a transparency log of verifications: append, prove, verify, fsck", run_ledger},
      {"probe", "change tokens and run again: do scores depend on what comes later?", run_probe},
      {"verify", "replay a submission and compare every bit with its record", run_verify},
      {"stats", "is a score over seeds better than a baseline by more than chance?", run_stats},
      {"report", "stored reports as a web page or in another format", run_report},
  };
  return list;
}

namespace {

void print_overview(std::FILE* to) {
  std::fputs("fairway: is this score real, legal and reproducible?\n\nUsage: fairway COMMAND [arguments]\n\n", to);
  for (const Command& c : commands()) std::fputs(fmt::format("  {:<8} {}\n", c.name, c.summary).c_str(), to);
  std::fputs("\n`fairway COMMAND --help` explains a command; `fairway --version` names the build.\n"
             "Exit codes: 0 passed, 1 a rule is broken, 2 undecided, 64 and up as in sysexits.h (64 usage, 65 unusable data,\n"
             "66 missing input, 69 unavailable, 70 internal error, 74 I/O, 75 interrupted and resumable).\n", to);
}

int run(const Arguments& arguments) {
  if (arguments.empty()) {
    print_overview(stderr);
    return 64;
  }
  const std::string& name = arguments[0];
  if (name == "--help" || name == "-h" || name == "help") {
    print_overview(stdout);
    return 0;
  }
  if (name == "--version") {
    std::fputs((replay::version_line() + "\n").c_str(), stdout);
    return 0;
  }
  for (const Command& c : commands()) {
    if (name != c.name) continue;
    if (const char* problem = kernels::self_test(); problem != nullptr) {
      std::fputs(fmt::format("fairway: self-test failed: {}; this build or machine would not give the promised bits\n", problem).c_str(), stderr);
      return 70;
    }
    ExitCode code = c.run({arguments.begin() + 1, arguments.end()});
    if (code) return *code;
    std::fputs(fmt::format("fairway {}: {}\n", name, code.error().message()).c_str(), stderr);
    return code.error().exit_code();
  }
  std::fputs(fmt::format("fairway: no command \"{}\"; `fairway --help` lists them\n", name).c_str(), stderr);
  return 64;
}

}  // namespace
}  // namespace fairway::cli

int main(int argc, char** argv) {
  fairway::cli::choose_wait_policy(argv);
  fairway::install_interrupt_handler();
  try {
    return fairway::cli::run({argv + 1, argv + argc});
  } catch (const fairway::cuda::DeviceError& e) {
    std::fputs(fmt::format("fairway: --device cuda: {}\n", e.what()).c_str(), stderr);
    return static_cast<int>(fairway::Errc::kUnavailable);
  } catch (const std::bad_alloc&) {
    std::fputs("fairway: out of memory\n", stderr);
    return 71;
  } catch (const std::exception& e) {
    std::fputs(fmt::format("fairway: internal error: {}\n", e.what()).c_str(), stderr);
    return 70;
  }
}

/// One file per command; main.cc picks it. A command parses its own arguments and returns the exit code.
#pragma once

#include <boost/program_options.hpp>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/comm/communicator.h"
#include "engine/submission/submission.h"
#include "kernels/executor.h"
#include "verifier/report/report.h"

namespace fairway::cli {

/// 0 and the codes of design.md §3 / sysexits.h. Errors are printed by main.
using ExitCode = Result<int>;
using Arguments = std::vector<std::string>;

struct Command {
  const char* name;     ///< "train"
  const char* summary;  ///< one line for the overview
  ExitCode (*run)(const Arguments& arguments);
};

const std::vector<Command>& commands();

ExitCode run_ablate(const Arguments& arguments);
ExitCode run_audit(const Arguments& arguments);
ExitCode run_data(const Arguments& arguments);
ExitCode run_report(const Arguments& arguments);
ExitCode run_stats(const Arguments& arguments);
ExitCode run_train(const Arguments& arguments);
ExitCode run_eval(const Arguments& arguments);
ExitCode run_export(const Arguments& arguments);
ExitCode run_ledger(const Arguments& arguments);
ExitCode run_probe(const Arguments& arguments);
ExitCode run_verify(const Arguments& arguments);

/// Options of a command, its positional arguments and its help page.
class Parser {
 public:
  /// `usage`: "fairway train DIR --out OUT [options]"; `text`: what the command does, several lines.
  Parser(std::string usage, std::string text);
  boost::program_options::options_description& options() { return options_; }
  /// A positional argument that must be given.
  void positional(const char* name, const char* description);
  /// The last positional arguments, at least one, as a std::vector<std::string>.
  void positional_list(const char* name, const char* description);
  /// One that may be left out.
  void optional_positional(const char* name, const char* description);
  /// An option that makes the command do only that and excuses from everything required, as --help does.
  void standalone(const char* name);
  /// Error kUsage with what is wrong and where to read on. `help_shown`: the page was printed, the command ends with 0.
  Result<boost::program_options::variables_map> parse(const Arguments& arguments, bool& help_shown);

 private:
  std::string usage_, text_;
  boost::program_options::options_description options_{"Options"};
  boost::program_options::options_description hidden_;
  boost::program_options::positional_options_description positions_;
  std::vector<std::string> required_;
  std::vector<std::string> standalone_{"help"};
};

/// The arguments of every command that works on a submission: DIR, --data, --tokenizer and --threads.
void add_submission(Parser& parser);
/// Whether a command computes on the device that --device names, or on the CPU alone and refuses another.
enum class Devices { kCpuOnly, kAny };
/// Sets the threads and loads the submission they name.
Result<submission::Submission> load_submission(const boost::program_options::variables_map& v, Devices devices = Devices::kCpuOnly);
/// The ranks of a command that computes on the CPU: one process or those of MPI. Collective. Errors: kUnavailable if a launcher of another kind started
/// several, kData if they are of different builds.
Result<std::unique_ptr<comm::Communicator>> ranks_on_cpu();
/// Who computes, and with whom.
struct Workplace {
  std::unique_ptr<comm::Communicator> communicator;
  kernels::Executor* executor;  ///< it lives as long as the process
  std::string device;           ///< for the log: which device --device came to, and why
};
/// The ranks of this run, which one launch command starts for any device, and the executor of --device. Collective, after load_submission. Errors:
/// kUsage for variables of a launcher that make no sense, kUnavailable for what build or machine lack, kData if ranks are of different builds.
Result<Workplace> chosen_workplace(const boost::program_options::variables_map& v);

/// Standard output is a terminal and NO_COLOR is not set.
bool want_colour();
/// The width of the terminal, or 100 where standard output is none.
int terminal_columns();

/// The options of every command that reports: --format (default "text") and --explain RULE, which needs no other argument.
void add_report(Parser& parser);
/// The format asked for. Error kUsage.
Result<verifier::Format> report_format(const boost::program_options::variables_map& v);
/// Prints the rule that --explain names and ends with 0. Error kUsage with the nearest ids.
ExitCode explain(const boost::program_options::variables_map& v);
/// A command's own reports on standard output, for a person as its terminal allows. Aborts on an id that is not registered.
Status print_reports(verifier::Format format, std::span<const verifier::Report> reports);
/// A result on standard output. Error kIo if it does not take all of it.
Status write_stdout(const std::string& text);

}  // namespace fairway::cli

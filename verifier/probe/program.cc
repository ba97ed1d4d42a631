#include "verifier/probe/program.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "engine/base/file.h"
#include "engine/data/shard.h"
#include "kernels/num/exact_sum.h"
#include "verifier/probe/child.h"

namespace fairway::verifier {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxErrorText = 300;
constexpr double kSumTolerance = 1e-5;
/// Losses may lie so far below zero: noise of a score near zero, and rounding. What sums to more than 1 loses its bet.
constexpr float kBelowZero = 0.1f;
/// The file in --out that says the folder is ours to clear.
constexpr const char* kMark = "fairway_probe";

/// The end of what the program said on standard error, on one line.
std::string last_words(const fs::path& folder) {
  const auto bytes = read_file((folder / "stderr.txt").string(), uint64_t{64} << 20);
  if (!bytes || bytes->empty()) return "";
  std::string text(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const size_t line = text.rfind('\n');
  if (line != std::string::npos) text.erase(0, line + 1);
  return "; it said: " + text.substr(0, kMaxErrorText);
}

Status write_tokens(const fs::path& path, std::span<const uint16_t> tokens) {
  std::vector<int32_t> header(256, 0);
  header[0] = 20240520, header[1] = 1, header[2] = static_cast<int32_t>(tokens.size());
  std::vector<std::byte> bytes(header.size() * sizeof(int32_t) + tokens.size_bytes());
  std::memcpy(bytes.data(), header.data(), header.size() * sizeof(int32_t));
  std::memcpy(bytes.data() + header.size() * sizeof(int32_t), tokens.data(), tokens.size_bytes());
  return write_file_atomic(path.string(), bytes);
}

/// Numbers, one on a line.
std::string parse_lines(std::string_view text, std::vector<float>& nll) {
  size_t line = 1;
  for (size_t at = 0; at < text.size(); ++line) {
    size_t end = text.find('\n', at);
    if (end == std::string_view::npos) end = text.size();
    std::string_view word = text.substr(at, end - at);
    at = end + 1;
    const auto blank = [](char c) { return c == '\r' || c == ' ' || c == '\t'; };
    while (!word.empty() && blank(word.back())) word.remove_suffix(1);
    while (!word.empty() && blank(word.front())) word.remove_prefix(1);
    if (word.empty()) continue;
    if (word.size() > 1 && word[0] == '+' && word[1] != '-') word.remove_prefix(1);
    // binary64 first: a number too small for binary32 is zero, one too large is infinite, and both are numbers.
    double value = 0.0;
    const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (stop != word.data() + word.size() || error == std::errc::invalid_argument) {
      return fmt::format("line {} of its output is not a number: \"{}\"", line, word.substr(0, 60));
    }
    if (error == std::errc::result_out_of_range)
      value = word.find("e-") != word.npos || word.find("E-") != word.npos ? 0.0 : HUGE_VAL;
    nll.push_back(static_cast<float>(value));
  }
  return "";
}

std::string check_scores(const std::vector<float>& nll, size_t predictions) {
  for (size_t i = 0; i < nll.size(); ++i) {
    if (!std::isfinite(nll[i])) return fmt::format("score {} is {}", i, nll[i]);
    if (nll[i] < -kBelowZero) return fmt::format("score {} is {}: a probability above 1", i, nll[i]);
  }
  if (nll.size() == predictions) return "";
  if (nll.empty())
    return fmt::format("it wrote no score instead of {} (does it want --binary or --streaming?)", predictions);
  return fmt::format("it wrote {} scores instead of {}, {}", nll.size(), predictions,
                     nll.size() < predictions ? "too few" : "too many");
}

/// Sum of the probabilities of a row of log-probabilities, exact but for the rounding of each to 2^-45 (2^-30 for a
/// vocabulary of 2^16 together); a value that is none is a problem.
double total(const std::vector<float>& row, size_t prediction, std::string& problem) {
  constexpr double kMost = 2.0;  // nothing beyond matters, and the sum of 2^16 fits
  int64_t units = 0;
  for (size_t v = 0; v < row.size(); ++v) {
    if (std::isnan(row[v])) {
      problem = fmt::format("the log-probability of token {} at prediction {} is {}", v, prediction, row[v]);
      return 0.0;
    }
    units += num::round_to_int64(std::min(std::exp(static_cast<double>(row[v])), kMost) * 0x1p45);
  }
  return static_cast<double>(units) * 0x1p-45;
}

}  // namespace

Status prepare(const ProgramOptions& options) {
  const fs::path folder = options.work_dir, mark = folder / kMark;
  if (options.work_dir.empty()) return Error{Errc::kUsage, "--out", "names no folder"};
  std::error_code error;
  const auto kind = fs::status(folder, error).type();
  if (kind != fs::file_type::not_found && kind != fs::file_type::directory) {
    return Error{Errc::kUsage, options.work_dir, "--out: is not a folder; name a new one"};
  }
  if (kind == fs::file_type::directory && !fs::exists(mark, error) && !fs::is_empty(folder, error)) {
    return Error{Errc::kUsage, options.work_dir,
                 "--out: holds files that are not of a probe, and a probe clears what it writes to; name a new folder"};
  }
  FAIRWAY_TRY(make_directories(options.work_dir));
  FAIRWAY_TRY(write_file_atomic(mark.string(), "A folder of `fairway probe`, which clears what it writes to.\n"));
  if (!options.sandbox) return {};
  RunFolder run(options.work_dir, "sandbox");
  FAIRWAY_TRY(run.open());
  ProgramOptions trial = options;
  trial.memory_bytes = int64_t{1} << 40;  // what the program is allowed may be too little for the sandbox itself
  FAIRWAY_ASSIGN(Child child, start(trial, {"true"}, run.path(), {}));
  const auto ending = finish(child, Clock::now() + std::chrono::seconds(30), false);
  if (!ending) return ending.error();
  if (ending->empty()) return run.keep();
  return Error{Errc::kUnavailable, "bubblewrap",
               fmt::format("does not work here: it {}{}; install bubblewrap, or give --no-sandbox to run the program "
                           "with your own rights",
                           *ending, last_words(run.path()))};
}

Result<ProgramRun> run_program(const ProgramOptions& options, const std::string& name,
                               std::span<const uint16_t> tokens) {
  RunFolder folder(options.work_dir, name);
  FAIRWAY_TRY(folder.open());
  FAIRWAY_TRY(write_tokens(folder.path() / "tokens.bin", tokens));
  const fs::path inside = seen_from_inside(options, folder.path());
  const std::string its_tokens = inside / "tokens.bin", its_nll = inside / "nll.f32";
  std::vector<std::string> command = options.command;
  for (std::string& word : command) {
    for (const auto& [hole, path] : {std::pair<std::string, std::string>{"{tokens}", its_tokens}, {"{nll}", its_nll}}) {
      if (const size_t at = word.find(hole); at != std::string::npos) word.replace(at, hole.size(), path);
    }
  }
  FAIRWAY_ASSIGN(Child child,
                 start(options, command, folder.path(), {"FAIRWAY_TOKENS=" + its_tokens, "FAIRWAY_NLL=" + its_nll}));
  close(child.input);
  child.input = -1;
  const auto deadline = Clock::now() + std::chrono::seconds(options.timeout_seconds);
  std::string text;
  bool flooded = false;
  char piece[65536];
  for (ssize_t got = 0; !flooded && (got = read_some(child.output, piece, sizeof piece, deadline)) > 0;) {
    text.append(piece, static_cast<size_t>(got));
    flooded = static_cast<int64_t>(text.size()) > options.output_bytes;
  }
  FAIRWAY_ASSIGN(std::string problem, finish(child, deadline, flooded));
  if (!problem.empty()) problem = "it " + problem + last_words(folder.path());
  if (flooded) problem = fmt::format("it wrote more than {} bytes (--max-output)", options.output_bytes);
  // Kept for inspection whatever came of it.
  FAIRWAY_TRY(write_file_atomic((folder.path() / "stdout.txt").string(), text));
  ProgramRun run;
  if (problem.empty() && options.binary) {
    const auto bytes = read_file((folder.path() / "nll.f32").string(), static_cast<uint64_t>(options.output_bytes));
    if (!bytes || bytes->size() % sizeof(float) != 0) {
      problem = bytes ? "the file {nll} does not hold whole binary32 numbers" : "it wrote no file {nll}";
    } else {
      run.nll.resize(bytes->size() / sizeof(float));
      if (!bytes->empty()) std::memcpy(run.nll.data(), bytes->data(), bytes->size());
    }
  } else if (problem.empty()) {
    problem = parse_lines(text, run.nll);
  }
  if (problem.empty()) problem = check_scores(run.nll, tokens.size() - 1);
  FAIRWAY_TRY(folder.keep());
  if (!problem.empty()) run.problem = fmt::format("{} (what it wrote is in {})", problem, folder.kept().string());
  return run;
}

Result<StreamRun> run_streaming(const ProgramOptions& options, const std::string& name,
                                std::span<const uint16_t> tokens, int64_t vocab) {
  signal(SIGPIPE, SIG_IGN);
  RunFolder folder(options.work_dir, name);
  FAIRWAY_TRY(folder.open());
  FAIRWAY_ASSIGN(Child child, start(options, options.command, folder.path(),
                                    {fmt::format("FAIRWAY_STREAM=1 {} {}", vocab, tokens.size() - 1)}));
  const auto deadline = Clock::now() + std::chrono::seconds(options.timeout_seconds);
  StreamRun run;
  std::vector<float> row(static_cast<size_t>(vocab));
  bool whole = true;
  for (size_t p = 0; p + 1 < tokens.size(); ++p) {
    // The token before the one to be predicted; the program has committed a distribution for it already, except for the
    // first.
    const ssize_t sent = write(child.input, &tokens[p], sizeof tokens[p]);
    if (sent != sizeof tokens[p]) {
      run.problem = fmt::format("it stopped reading before prediction {}", p);
      break;
    }
    const size_t wanted = row.size() * sizeof(float);
    auto* const bytes = reinterpret_cast<char*>(row.data());
    ssize_t got = 0;
    size_t have = 0;
    while (have < wanted && (got = read_some(child.output, bytes + have, wanted - have, deadline)) > 0) {
      have += static_cast<size_t>(got);
    }
    whole = have == wanted;
    if (!whole && got == 0) run.problem = fmt::format("it stopped writing within the distribution of prediction {}", p);
    if (!whole) break;
    const double sum = total(row, p, run.problem);
    if (!run.problem.empty()) break;
    if (std::abs(sum - 1.0) > kSumTolerance) {
      run.unnormalised =
          fmt::format("the distribution of prediction {} sums to {:.9g} (log-probabilities are wanted)", p, sum);
      break;
    }
    if (std::abs(sum - 1.0) > std::abs(run.farthest_sum - 1.0)) run.farthest_sum = sum;
    const float score = -row[tokens[p + 1]];
    if (!std::isfinite(score)) {
      run.problem = fmt::format("prediction {} gives its token no probability", p);
      break;
    }
    run.nll.push_back(std::max(score, 0.0f));
  }
  // After a fault there is nothing to wait for.
  FAIRWAY_ASSIGN(const std::string ending, finish(child, deadline, !run.problem.empty() || !run.unnormalised.empty()));
  FAIRWAY_TRY(
      write_file_atomic((folder.path() / "nll.f32").string(), std::as_bytes(std::span(std::as_const(run.nll)))));
  if (run.problem.empty() && run.unnormalised.empty() && !ending.empty()) run.problem = "it " + ending;
  if (!run.problem.empty())
    run.problem += fmt::format("{} (what it wrote is in {})", last_words(folder.path()), folder.kept().string());
  FAIRWAY_TRY(folder.keep());
  return run;
}

}  // namespace fairway::verifier

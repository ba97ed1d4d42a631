#include "verifier/probe/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "engine/base/file.h"
#include "engine/data/shard.h"
#include "kernels/num/exact_sum.h"
#include "kernels/num/exp.h"

extern char** environ;

namespace fairway::verifier {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr size_t kMaxErrorText = 300;
constexpr double kSumTolerance = 1e-5;

/// A child process with its ends of the pipes.
struct Child {
  pid_t pid = -1;
  int input = -1, output = -1;  ///< ours: to write to it, to read from it
};

/// Where a run's folder is seen from inside: the same place for every run, so that none can tell which it is.
constexpr const char* kInside = "/tmp/fairway_probe";

std::string seen_from_inside(const ProgramOptions& o, const std::string& folder) {
  return o.sandbox ? kInside : folder;
}

std::vector<std::string> sandboxed(const ProgramOptions& o, const std::vector<std::string>& command,
                                   const std::string& folder) {
  if (!o.sandbox) return command;
  std::vector<std::string> all = {"bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"};
  std::vector<std::string> hidden = {fs::absolute(o.work_dir).string()};
  hidden.insert(hidden.end(), o.hide.begin(), o.hide.end());
  for (const std::string& path : hidden) {
    std::error_code ignored;
    const fs::path real = fs::canonical(path, ignored);
    if (ignored) continue;
    if (fs::is_directory(real, ignored)) {
      all.insert(all.end(), {"--tmpfs", real.string()});
    } else {
      all.insert(all.end(), {"--ro-bind", "/dev/null", real.string()});
    }
  }
  all.insert(all.end(),
             {"--size", std::to_string(o.output_bytes), "--tmpfs", "/tmp", "--bind", folder, kInside, "--unshare-net",
              "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--new-session", "--die-with-parent", "--"});
  all.insert(all.end(), command.begin(), command.end());
  return all;
}

void limit(int resource, int64_t bytes) {
  const rlimit bound{static_cast<rlim_t>(bytes), static_cast<rlim_t>(bytes)};
  setrlimit(resource, &bound);
}

/// Starts the program with its standard error in folder/stderr.txt. Error kIo if the system refuses.
Result<Child> start(const ProgramOptions& o, const std::vector<std::string>& command, const std::string& folder,
                    const std::vector<std::string>& extra_environment) {
  int in[2], out[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) return io_error(folder, "cannot open a pipe", errno);
  const std::vector<std::string> all = sandboxed(o, command, folder);
  std::vector<char*> arguments, environment;
  for (const std::string& a : all) arguments.push_back(const_cast<char*>(a.c_str()));
  arguments.push_back(nullptr);
  for (char** e = environ; *e != nullptr; ++e) environment.push_back(*e);
  for (const std::string& e : extra_environment) environment.push_back(const_cast<char*>(e.c_str()));
  environment.push_back(nullptr);
  const std::string error_path = (fs::path(folder) / "stderr.txt").string();
  const pid_t pid = fork();
  if (pid < 0) return io_error(folder, "cannot start a process", errno);
  if (pid == 0) {
    setpgid(0, 0);
    const int error = open(error_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0 || error < 0 || dup2(error, 2) < 0) _exit(126);
    limit(RLIMIT_AS, o.memory_bytes);
    limit(RLIMIT_FSIZE, o.output_bytes);
    limit(RLIMIT_CORE, 0);
    execvpe(arguments[0], arguments.data(), environment.data());
    _exit(127);
  }
  close(in[0]), close(out[1]);
  return Child{pid, in[1], out[0]};
}

int64_t left_ms(Clock::time_point deadline) {
  return std::max<int64_t>(0, std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count());
}

/// Waits until the deadline, ends what is left of the child's process group, and returns how it ended: "" if by itself
/// with 0.
std::string finish(Child& child, bool timed_out, Clock::time_point deadline, int64_t timeout_seconds) {
  if (child.input >= 0) close(child.input);
  if (child.output >= 0) close(child.output);
  int status = 0;
  pid_t ended = 0;
  while (!timed_out && (ended = waitpid(child.pid, &status, WNOHANG)) == 0) {
    timed_out = left_ms(deadline) == 0;
    poll(nullptr, 0, 5);
  }
  kill(-child.pid, SIGKILL);  // a program's own children must not outlive it
  while (ended <= 0 && (ended = waitpid(child.pid, &status, 0)) < 0 && errno == EINTR) {
  }
  if (timed_out) return fmt::format("it was still running after {} s (--timeout)", timeout_seconds);
  if (WIFSIGNALED(status))
    return fmt::format("it was ended by signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  if (WEXITSTATUS(status) == 127) return "it could not be started";
  if (WEXITSTATUS(status) != 0) return fmt::format("it ended with exit code {}", WEXITSTATUS(status));
  return "";
}

enum class Read { kAll, kEnd, kTimeout };

/// Reads exactly `size` bytes.
Read read_exactly(int fd, void* data, size_t size, Clock::time_point deadline) {
  auto* at = static_cast<char*>(data);
  while (size > 0) {
    pollfd p{fd, POLLIN, 0};
    const int ready = poll(&p, 1, static_cast<int>(std::min<int64_t>(left_ms(deadline), 1 << 30)));
    if (ready == 0) return Read::kTimeout;
    if (ready < 0) continue;
    const ssize_t got = read(fd, at, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Read::kEnd;
    at += got;
    size -= static_cast<size_t>(got);
  }
  return Read::kAll;
}

/// The end of what the program said on standard error, on one line.
std::string last_words(const std::string& folder) {
  const auto bytes = read_file((fs::path(folder) / "stderr.txt").string(), uint64_t{64} << 20);
  if (!bytes || bytes->empty()) return "";
  std::string text(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const size_t line = text.rfind('\n');
  if (line != std::string::npos) text.erase(0, line + 1);
  return "; it said: " + text.substr(0, kMaxErrorText);
}

Status write_tokens(const std::string& path, std::span<const uint16_t> tokens) {
  std::vector<int32_t> header(256, 0);
  header[0] = 20240520, header[1] = 1, header[2] = static_cast<int32_t>(tokens.size());
  std::vector<std::byte> bytes(header.size() * sizeof(int32_t) + tokens.size_bytes());
  std::memcpy(bytes.data(), header.data(), header.size() * sizeof(int32_t));
  std::memcpy(bytes.data() + header.size() * sizeof(int32_t), tokens.data(), tokens.size_bytes());
  return write_file_atomic(path, bytes);
}

/// Numbers, one on a line.
std::string parse_lines(std::string_view text, std::vector<float>& nll) {
  size_t line = 1;
  for (size_t at = 0; at < text.size(); ++line) {
    size_t end = text.find('\n', at);
    if (end == std::string_view::npos) end = text.size();
    std::string_view word = text.substr(at, end - at);
    at = end + 1;
    while (!word.empty() && (word.back() == '\r' || word.back() == ' ')) word.remove_suffix(1);
    if (word.empty()) continue;
    float value = 0.0f;
    const auto [stop, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || stop != word.data() + word.size()) {
      return fmt::format("line {} of its output is not a number: \"{}\"", line, word.substr(0, 60));
    }
    nll.push_back(value);
  }
  return "";
}

std::string check_scores(const std::vector<float>& nll, size_t predictions) {
  for (size_t i = 0; i < nll.size(); ++i) {
    if (!std::isfinite(nll[i])) return fmt::format("score {} is {}", i, nll[i]);
    if (nll[i] < 0.0f) return fmt::format("score {} is {}: a probability above 1", i, nll[i]);
  }
  if (nll.size() == predictions) return "";
  if (nll.empty()) return fmt::format("it wrote no score instead of {}", predictions);
  return fmt::format("it wrote {} scores instead of {}, {}", nll.size(), predictions,
                     nll.size() < predictions ? "too few" : "too many");
}

/// Sum of the probabilities of a row of log-probabilities, exact but for the rounding of each to 2^-30; a value that is
/// none is a problem.
double total(const std::vector<float>& row, size_t prediction, std::string& problem) {
  constexpr double kMost = 1e3;  // nothing beyond matters, and the sum fits
  int64_t units = 0;
  for (size_t v = 0; v < row.size(); ++v) {
    if (std::isnan(row[v])) {
      problem = fmt::format("the log-probability of token {} at prediction {} is {}", v, prediction, row[v]);
      return 0.0;
    }
    units += num::round_to_int64(std::min(std::exp(static_cast<double>(row[v])), kMost) * 0x1p30);
  }
  return static_cast<double>(units) * 0x1p-30;
}

Result<std::string> fresh_folder(const ProgramOptions& o, const std::string& name) {
  const std::string folder = fs::absolute(fs::path(o.work_dir) / name).lexically_normal().string();
  // Whatever an earlier run left there is gone before the next can see it. A link is removed, not followed.
  std::error_code error;
  fs::remove_all(folder, error);
  if (error) return io_error(folder, "cannot clear the folder of a run", error.value());
  FAIRWAY_TRY(make_directories(folder));
  return folder;
}

}  // namespace

Status check_sandbox(const ProgramOptions& options) {
  if (!options.sandbox) return {};
  ProgramOptions trial = options;
  trial.command = {"true"};
  FAIRWAY_ASSIGN(const std::string folder, fresh_folder(options, "sandbox"));
  FAIRWAY_ASSIGN(Child child, start(trial, trial.command, folder, {}));
  const std::string problem = finish(child, false, Clock::now() + std::chrono::seconds(30), 30);
  if (problem.empty()) return {};
  return Error{
      Errc::kUnavailable, "bubblewrap",
      fmt::format(
          "does not work here: {}{}; install bubblewrap, or give --no-sandbox to run the program with your own rights",
          problem, last_words(folder))};
}

Result<ProgramRun> run_program(const ProgramOptions& options, const std::string& name,
                               std::span<const uint16_t> tokens) {
  FAIRWAY_ASSIGN(const std::string folder, fresh_folder(options, name));
  const std::string nll_path = (fs::path(folder) / "nll.f32").string();
  FAIRWAY_TRY(write_tokens((fs::path(folder) / "tokens.bin").string(), tokens));
  const fs::path inside = seen_from_inside(options, folder);
  const std::string its_tokens = inside / "tokens.bin", its_nll = inside / "nll.f32";
  std::vector<std::string> command = options.command;
  for (std::string& word : command) {
    for (const auto& [hole, path] : {std::pair<std::string, std::string>{"{tokens}", its_tokens}, {"{nll}", its_nll}}) {
      if (const size_t at = word.find(hole); at != std::string::npos) word.replace(at, hole.size(), path);
    }
  }
  FAIRWAY_ASSIGN(Child child,
                 start(options, command, folder, {"FAIRWAY_TOKENS=" + its_tokens, "FAIRWAY_NLL=" + its_nll}));
  close(child.input);
  child.input = -1;
  const auto deadline = Clock::now() + std::chrono::seconds(options.timeout_seconds);
  std::string text, problem;
  char piece[65536];
  bool timed_out = false, flooded = false;
  for (;;) {
    pollfd p{child.output, POLLIN, 0};
    const int ready = poll(&p, 1, static_cast<int>(std::min<int64_t>(left_ms(deadline), 1 << 30)));
    if (ready == 0) timed_out = true;
    if (ready == 0) break;
    if (ready < 0) continue;
    const ssize_t got = read(child.output, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(piece, static_cast<size_t>(got));
    flooded = static_cast<int64_t>(text.size()) > options.output_bytes;
    if (flooded) break;
  }
  if (flooded) kill(-child.pid, SIGKILL);
  problem = finish(child, timed_out, deadline, options.timeout_seconds);
  if (flooded) problem = fmt::format("it wrote more than {} bytes (--max-output)", options.output_bytes);
  // Kept for inspection whatever came of it.
  FAIRWAY_TRY(write_file_atomic((fs::path(folder) / "stdout.txt").string(), text));
  ProgramRun run;
  if (problem.empty()) {
    if (options.binary) {
      const auto bytes = read_file(nll_path, static_cast<uint64_t>(options.output_bytes));
      if (!bytes || bytes->size() % sizeof(float) != 0) {
        problem = bytes ? "the file {nll} does not hold whole binary32 numbers" : "it wrote no file {nll}";
      } else {
        run.nll.resize(bytes->size() / sizeof(float));
        if (!bytes->empty()) std::memcpy(run.nll.data(), bytes->data(), bytes->size());
      }
    } else {
      problem = parse_lines(text, run.nll);
    }
    if (problem.empty()) problem = check_scores(run.nll, tokens.size() - 1);
  } else {
    problem += last_words(folder);
  }
  if (!problem.empty()) run.problem = fmt::format("{} (what it wrote is in {})", problem, folder);
  return run;
}

Result<StreamRun> run_streaming(const ProgramOptions& options, const std::string& name,
                                std::span<const uint16_t> tokens, int64_t vocab) {
  signal(SIGPIPE, SIG_IGN);
  FAIRWAY_ASSIGN(const std::string folder, fresh_folder(options, name));
  FAIRWAY_ASSIGN(Child child, start(options, options.command, folder,
                                    {fmt::format("FAIRWAY_STREAM=1 {} {}", vocab, tokens.size() - 1)}));
  const auto deadline = Clock::now() + std::chrono::seconds(options.timeout_seconds);
  StreamRun run;
  std::vector<float> row(static_cast<size_t>(vocab));
  bool timed_out = false;
  for (size_t p = 0; p + 1 < tokens.size(); ++p) {
    // The token before the one to be predicted; the program has committed a distribution for it already, except for the
    // first.
    const ssize_t sent = write(child.input, &tokens[p], sizeof tokens[p]);
    if (sent != sizeof tokens[p]) {
      run.problem = fmt::format("it stopped reading before prediction {}", p);
      break;
    }
    const Read got = read_exactly(child.output, row.data(), row.size() * sizeof(float), deadline);
    timed_out = got == Read::kTimeout;
    if (got == Read::kEnd) run.problem = fmt::format("it stopped writing within the distribution of prediction {}", p);
    if (got != Read::kAll) break;
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
  const bool whole = run.problem.empty() && run.unnormalised.empty() && !timed_out;
  if (!whole) kill(-child.pid, SIGKILL);
  const std::string ending = finish(child, timed_out, deadline, options.timeout_seconds);
  FAIRWAY_TRY(
      write_file_atomic((fs::path(folder) / "nll.f32").string(), std::as_bytes(std::span(std::as_const(run.nll)))));
  if (run.problem.empty() && run.unnormalised.empty()) run.problem = ending;
  if (!run.problem.empty()) run.problem += fmt::format("{} (what it wrote is in {})", last_words(folder), folder);
  return run;
}

}  // namespace fairway::verifier

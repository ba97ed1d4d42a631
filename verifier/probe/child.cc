#include "verifier/probe/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "engine/base/file.h"
#include "engine/base/interrupt.h"

extern char** environ;

namespace fairway::verifier {
namespace {

namespace fs = std::filesystem;

constexpr const char* kInside = "/tmp/fairway_probe";
/// How often a wait looks whether the user wants to stop.
constexpr int64_t kLookMs = 100;

int64_t left_ms(Clock::time_point deadline) {
  return std::max<int64_t>(0, std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count());
}

/// The options of bubblewrap, up to the command.
std::vector<std::string> sandbox_options(const ProgramOptions& o, const std::string& folder) {
  std::vector<std::string> all = {"--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"};
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
              "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--new-session", "--die-with-parent"});
  return all;
}

/// The options as bubblewrap reads them from a file without a name: on its command line the program could read them.
int options_in_memory(const std::vector<std::string>& options) {
  const int fd = memfd_create("options", 0);
  std::string text;
  for (const std::string& o : options) text += o + '\0';
  if (fd < 0 || write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
      lseek(fd, 0, SEEK_SET) != 0) {
    if (fd >= 0) close(fd);
    return -1;
  }
  return fd;
}

void limit(int resource, int64_t bytes) {
  const rlimit bound{static_cast<rlim_t>(bytes), static_cast<rlim_t>(bytes)};
  setrlimit(resource, &bound);
}

}  // namespace

RunFolder::RunFolder(const std::string& work_dir, const std::string& name)
    : path_((fs::absolute(work_dir) / "running").lexically_normal()),
      kept_((fs::absolute(work_dir) / name).lexically_normal()) {}

Status RunFolder::open() {
  for (const fs::path& folder : {path_, kept_}) {
    std::error_code error;
    fs::remove_all(folder, error);
    if (error) return io_error(folder.string(), "clear the folder of a run", error.value());
  }
  return make_directories(path_.string());
}

Status RunFolder::keep() {
  std::error_code error;
  fs::rename(path_, kept_, error);
  return error ? Status(io_error(kept_.string(), "keep the folder of a run", error.value())) : Status();
}

fs::path seen_from_inside(const ProgramOptions& o, const fs::path& folder) { return o.sandbox ? kInside : folder; }

Result<Child> start(const ProgramOptions& o, const std::vector<std::string>& command, const fs::path& folder,
                    const std::vector<std::string>& extra_environment) {
  int in[2], out[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) return io_error(folder.string(), "open a pipe", errno);
  std::vector<std::string> all = command;
  int options = -1;
  if (o.sandbox) {
    options = options_in_memory(sandbox_options(o, folder.string()));
    if (options < 0) return io_error(folder.string(), "hand over the sandbox's options", errno);
    const std::vector<std::string> bwrap = {"bwrap", "--args", std::to_string(options), "--"};
    all.insert(all.begin(), bwrap.begin(), bwrap.end());
  }
  std::vector<char*> arguments, environment;
  for (const std::string& a : all) arguments.push_back(const_cast<char*>(a.c_str()));
  arguments.push_back(nullptr);
  for (char** e = environ; *e != nullptr; ++e) environment.push_back(*e);
  for (const std::string& e : extra_environment) environment.push_back(const_cast<char*>(e.c_str()));
  environment.push_back(nullptr);
  const std::string error_path = (folder / "stderr.txt").string();
  const pid_t pid = fork();
  if (pid < 0) return io_error(folder.string(), "start a process", errno);
  if (pid == 0) {
    setpgid(0, 0);
    const int error = open(error_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (dup2(in[0], 0) < 0 || dup2(out[1], 1) < 0 || error < 0 || dup2(error, 2) < 0) _exit(126);
    limit(RLIMIT_AS, o.memory_bytes);
    limit(RLIMIT_FSIZE, o.output_bytes);
    limit(RLIMIT_CORE, 0);
    execvpe(arguments[0], arguments.data(), environment.data());
    const std::string why = fmt::format("{}: {}\n", arguments[0], std::strerror(errno));
    (void)!write(2, why.data(), why.size());
    _exit(127);
  }
  close(in[0]), close(out[1]);
  if (options >= 0) close(options);
  return Child{pid, in[1], out[0]};
}

ssize_t read_some(int fd, void* data, size_t size, Clock::time_point deadline) {
  for (;;) {
    const int64_t left = left_ms(deadline);
    if (left == 0 || interrupted()) return -1;
    pollfd p{fd, POLLIN, 0};
    if (poll(&p, 1, static_cast<int>(std::min(left, kLookMs))) <= 0) continue;
    const ssize_t got = read(fd, data, size);
    if (got < 0 && errno == EINTR) continue;
    return std::max<ssize_t>(got, 0);
  }
}

Result<std::string> finish(Child& child, Clock::time_point deadline, bool at_once) {
  if (child.input >= 0) close(child.input);
  if (child.output >= 0) close(child.output);
  int status = 0;
  pid_t ended = 0;
  bool late = false;
  while (!at_once && !late && !interrupted() && (ended = waitpid(child.pid, &status, WNOHANG)) == 0) {
    late = left_ms(deadline) == 0;
    poll(nullptr, 0, 5);
  }
  kill(-child.pid, SIGKILL);  // a program's own children must not outlive it
  while (ended <= 0 && (ended = waitpid(child.pid, &status, 0)) < 0 && errno == EINTR) {
  }
  if (interrupted()) return Error{Errc::kInterrupted, "probe", "stopped; the program was ended, nothing is decided"};
  if (late) return std::string("was still running after its time (--timeout)");
  if (WIFSIGNALED(status))
    return fmt::format("was ended by signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  if (WEXITSTATUS(status) == 127) return std::string("could not be started");
  if (WEXITSTATUS(status) != 0) return fmt::format("ended with exit code {}", WEXITSTATUS(status));
  return std::string();
}

}  // namespace fairway::verifier

/// Running somebody else's evaluation program over a stream of tokens, in a sandbox (verifier/probe/PROTOCOL.md).
///
/// The program is never trusted: no network, a read-only root without other runs and the true tokens, bounds on time,
/// memory and output. A run finds nothing that an earlier one left. What it wrote stays on disk.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"

namespace fairway::verifier {

struct ProgramOptions {
  std::vector<std::string> command;  ///< {tokens} and {nll} in its arguments become the paths of a run
  std::string work_dir;  ///< every run has a folder of its own in it; kept until a run of that name begins anew
  bool sandbox = true;   ///< bubblewrap
  std::vector<std::string>
      hide;             ///< files and folders that the program must not see: the true tokens; needs the sandbox
  bool binary = false;  ///< scores come as binary32 in the file {nll}, not as lines on standard output
  int64_t timeout_seconds = 600;
  int64_t memory_bytes = int64_t{16} << 30;
  int64_t output_bytes = int64_t{1} << 30;
};

/// What came of a run.
struct ProgramRun {
  std::vector<float> nll;
  std::string problem;  ///< empty, or what the program did wrong, its folder named
};

/// What came of a run that handed over distributions. The run ends with the first that does not sum to 1.
struct StreamRun : ProgramRun {
  std::string unnormalised;   ///< empty, or which distribution does not sum to 1 within 1e-5
  double farthest_sum = 1.0;  ///< of the sound ones, that farthest from 1
};

/// Makes work_dir. Error kUsage if it holds anything but earlier probes, kUnavailable if the sandbox is wanted and does
/// not work here, saying why and what to do.
Status prepare(const ProgramOptions& options);

/// Runs the program on `tokens`, written as a token shard; what it wrote is then in work_dir/name. Errors are for what
/// we could not do, and kInterrupted on Ctrl-C; what the program did wrong is a problem.
Result<ProgramRun> run_program(const ProgramOptions& options, const std::string& name,
                               std::span<const uint16_t> tokens);

/// The stricter protocol: tokens are handed out one by one, each only after a whole distribution over `vocab` tokens
/// has been committed for it; the nll are computed here.
Result<StreamRun> run_streaming(const ProgramOptions& options, const std::string& name,
                                std::span<const uint16_t> tokens, int64_t vocab);

}  // namespace fairway::verifier

/// Causality probes of somebody else's evaluation program: the same changes of tokens, compared against its own noise.
#pragma once

#include "verifier/probe/program.h"
#include "verifier/report/report.h"

namespace fairway::verifier {

struct BlackBoxOptions {
  ProgramOptions program;
  int64_t vocab = 0;  ///< 0: one more than the largest token
  int64_t runs = 3;   ///< identical runs that the noise floor comes from
  int64_t cuts = 4;
  uint64_t seed = 0;
  double rate = 0.01;  ///< chance that an honest program is called dishonest, over all probes of the session
  bool swap_vocabulary =
      false;  ///< one target, every vocabulary item in its place: as many runs as the vocabulary has items
  bool streaming = false;
  int32_t boundary = -1;  ///< a token whose places the program may know beforehand (ends of documents); -1: none
};

/// Adds probe.program, probe.noise, probe.suffix, probe.shift, probe.drawn_text and, if asked for, probe.target_swap;
/// with `streaming` probe.program and probe.normalized alone.
Status probe_program(std::span<const uint16_t> tokens, const BlackBoxOptions& options, Report& report);

}  // namespace fairway::verifier

/// Replaying a submission and comparing bits with its record.
#pragma once

#include <string>

#include "engine/replay/pipeline.h"
#include "verifier/check/journal.h"
#include "verifier/report/report.h"

namespace fairway::verifier {

enum class Level {
  kEval,  ///< load the artifact, score again
  kSpot,  ///< run randomly chosen segments between committed states again, then as kEval
  kFull,  ///< train again from the start
};

struct ReplayOptions {
  Level level = Level::kEval;
  std::string record_dir;     ///< holds replay.json, schedule.f64 and the artifact of one seed
  std::string work_dir;       ///< where a full replay writes, and goes on if it was cut off; must differ from record_dir
  int64_t segments = 2;       ///< kSpot
  uint64_t choice_seed = 0;   ///< kSpot: which segments; printed
  bool trace = true;          ///< audit the score trace
  int64_t probe_cuts = 0;     ///< causality probes; 0: none. Drawn from choice_seed
  bool show_progress = true;
  Journal* journal = nullptr;  ///< parts that are in it are not done again, others are kept in it; nullptr: none, as on ranks above 0
};

/// Adds the checks of one seed to the report. Errors are for what prevents an answer (missing or unusable input, I/O,
/// interruption); a difference is a failed check, not an error.
Status check_replay(const submission::Submission& s, const train::DataFiles& files, const train::Validation& validation,
                             const ReplayOptions& options, comm::Communicator& communicator, Report& report);

}  // namespace fairway::verifier

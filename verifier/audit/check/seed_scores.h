/// The scores over seeds that a record rests on, for statistics.
#pragma once

#include <optional>
#include <string>

#include "verifier/audit/check/claim.h"
#include "verifier/audit/facts.h"
#include "verifier/stats/t_test.h"

namespace fairway::audit {

struct SeedScores {
  stats::Sample sample;
  std::string source;            ///< "final_int6_sliding_window_exact in the logs", "the seeds of submission.json"
  std::vector<Place> places;     ///< one a score, as far as they are known
  double bytes_per_token = 0.0;  ///< val_loss / (val_bpb ln 2) of the record; 0: not known
};

/// The reported tag in the logs or the scores per seed of submission.json, whichever has more of them (the logs if
/// equal); else its mean with standard deviation and number of seeds. Nothing if there are not two scores.
std::optional<SeedScores> seed_scores(const Facts& facts, const ClaimMatch& match);
std::optional<SeedScores> seed_scores(const Facts& facts);

}  // namespace fairway::audit

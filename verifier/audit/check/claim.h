/// Which of the scores printed in the logs is the one that submission.json claims.
#pragma once

#include <string>
#include <vector>

#include "verifier/audit/facts.h"

namespace fairway::audit {

struct ClaimMatch {
  enum class Kind {
    kNone,       ///< no value printed, no mean of values of one tag
    kMean,       ///< the mean over runs of one tag (one run: its value)
    kSeedsMean,  ///< the mean of the JSON's own scores per seed, of which those with a log agree with it
    kBest,       ///< the best run of several
    kOther       ///< some other printed value
  };
  Kind kind = Kind::kNone;
  std::string tag;            ///< as printed
  bool diagnostic = false;    ///< of a step or another intermediate value
  double value = 0;           ///< what matched
  double mean = 0;            ///< of the tag over its runs
  std::vector<size_t> runs;   ///< indices into Facts::runs that carry the tag
  std::vector<Place> places;  ///< of the lines that matched
  double nearest = 0;         ///< kNone: the mean nearest to the claim, 0 if no score was printed
};

/// How far a printed number may be from the claim: half a unit of the fewer decimals, at least 5e-5.
double claim_tolerance(const Facts& facts);

/// Prefers final values over diagnostic ones, means over single runs, the value printed last.
ClaimMatch match_claim(const Facts& facts);

}  // namespace fairway::audit

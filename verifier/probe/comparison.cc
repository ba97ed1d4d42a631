#include "verifier/probe/comparison.h"

#include <algorithm>
#include <cmath>

#include "verifier/probe/changes.h"

namespace fairway::verifier {
namespace {

/// Chance of at most one pair out of order among n and n exchangeable values.
double chance_of(int64_t n) {
  double arrangements = 1.0;
  for (int64_t i = 1; i <= n; ++i) arrangements *= static_cast<double>(n + i) / static_cast<double>(i);
  return 2.0 / arrangements;
}

/// Which of 2n runs see the changed stream: n of them, drawn by lot.
std::vector<bool> lots(int64_t n, uint64_t seed, uint64_t examination) {
  std::vector<bool> changed(static_cast<size_t>(2 * n));
  std::fill_n(changed.begin(), n, true);
  shuffle(changed, seed, examination);
  return changed;
}

/// Pairs of an original and a changed value that do not lie as the standout does.
int64_t pairs_out_of_order(bool higher, const std::vector<double>& original, const std::vector<double>& changed) {
  int64_t count = 0;
  for (double a : original) {
    for (double b : changed) count += (higher ? b > a : b < a) ? 0 : 1;
  }
  return count;
}

}  // namespace

int64_t runs_to_confirm(double chance) {
  int64_t n = 1;
  while (chance_of(n) > chance) ++n;
  return n;
}

Result<Comparison::Outcome> Comparison::look(const Scores& changed, int64_t count, const RunAgain& run_again) {
  std::vector<Standout> standouts = noise_.standouts(changed, count, screening_rate_, kMostScores);
  if (standouts.empty()) return Outcome();
  ++examinations_;
  const double chance = std::ldexp(rate_, -static_cast<int>(std::min<int64_t>(examinations_, 60))) /
                        static_cast<double>(standouts.size());
  const int64_t n = runs_to_confirm(chance);
  struct Values {
    std::vector<double> original, changed;
  };
  std::vector<Values> values(standouts.size());
  for (const bool is_changed : lots(n, seed_, static_cast<uint64_t>(examinations_))) {
    FAIRWAY_ASSIGN(const Scores* scores, run_again(is_changed));
    if (scores == nullptr) return Outcome{{}, true};
    bool open = false;
    for (size_t i = 0; i < standouts.size(); ++i) {
      (is_changed ? values[i].changed : values[i].original).push_back(value_of(standouts[i], *scores, count));
      open = open || pairs_out_of_order(standouts[i].is > standouts[i].was, values[i].original, values[i].changed) <= 1;
    }
    // No further run can confirm any of them.
    if (!open) return Outcome();
  }
  for (size_t i = 0; i < standouts.size(); ++i) {
    if (pairs_out_of_order(standouts[i].is > standouts[i].was, values[i].original, values[i].changed) <= 1) {
      return Outcome{Difference{standouts[i], n, chance_of(n)}, false};
    }
  }
  return Outcome();
}

}  // namespace fairway::verifier

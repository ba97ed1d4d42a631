/// Variants of a submission beside each other: what each scored over the same seeds, and what it cost.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fairway::cli {

/// One trained seed.
struct AblationRun {
  uint64_t seed = 0;
  double train_loss = 0.0, val_loss = 0.0, val_bpb = 0.0;
  int64_t total_bytes = 0;
  double step_ms = 0.0;
};

/// A variant with its runs; the first of a list is the base.
struct AblationVariant {
  std::string name;
  std::vector<AblationRun> runs;
};

/// The throughput account: a step that takes longer means fewer steps within the budget, and each is worth so much.
struct Throughput {
  double budget_seconds = 600.0;
  double bpb_per_step = 0.0;  ///< measured marginal gain of one more step; 0: no account
};

/// (budget / base - budget / variant) * bpb per step: what the variant must gain per run to pay for its time.
double required_bpb(const Throughput& throughput, double base_step_ms, double variant_step_ms);

double mean_of(const std::vector<AblationRun>& runs, double AblationRun::*field);

/// A table for a person, and one JSON document. Where both sides have at least two seeds, with a one-sided Welch test of the variant's
/// bits per byte against the base, without a margin.
std::string ablation_table(const std::vector<AblationVariant>& variants, const Throughput& throughput);
std::string ablation_json(const std::vector<AblationVariant>& variants, const Throughput& throughput);

}  // namespace fairway::cli

/// Procedures that look at what they must not: what the verifier is tested against. Each is the real thing, written as
/// its authors had it, behind the same harness as the honest ones; tests/dishonest holds a submission for each with the
/// verdict expected.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "engine/eval/procedure.h"

namespace fairway::eval::dishonest {

/// What a trick is made from.
struct Ingredients {
  const EvalConfig& config;
  model::Gpt& model;
  int64_t predictions;
  const std::vector<int64_t>& document_starts;
  WindowPlan plan;          ///< of the method that the configuration names
  WindowPlan sliding_plan;  ///< the same in the order of chunks, SW-C
};
using Made = Result<std::unique_ptr<Procedure>>;

template <class Trick, class... Arguments>
Made made(Arguments&&... arguments) {
  return std::unique_ptr<Procedure>(std::make_unique<Trick>(std::forward<Arguments>(arguments)...));
}

// training_tricks.cc
Made ttt_before_scoring(const Ingredients& from);
Made train_then_score(const Ingredients& from);
Made last_epoch(const Ingredients& from);
Made second_pass(const Ingredients& from);
Made state_leaks_across_documents(const Ingredients& from);
// cache_tricks.cc
Made hashed_ngram(const Ingredients& from);
Made oracle_gate(const Ingredients& from);
// fitted_tricks.cc
Made slot(const Ingredients& from);
Made calibrated_temperature(const Ingredients& from);
// attention_tricks.cc
Made mask_off_by_one(const Ingredients& from);
Made key_exponent_over_suffix(const Ingredients& from);
Made value_exponent_over_suffix(const Ingredients& from);
Made late_alignment(const Ingredients& from);

}  // namespace fairway::eval::dishonest

#include <fmt/format.h>

#include "engine/eval/dishonest/tricks.h"

namespace fairway::eval {
namespace {

struct Trick {
  const char* name;
  dishonest::Made (*make)(const dishonest::Ingredients&);
};

constexpr Trick kTricks[] = {
    {"ttt_before_scoring", dishonest::ttt_before_scoring},
    {"train_then_score", dishonest::train_then_score},
    {"last_epoch", dishonest::last_epoch},
    {"second_pass", dishonest::second_pass},
    {"hashed_ngram", dishonest::hashed_ngram},
    {"oracle_gate", dishonest::oracle_gate},
    {"slot", dishonest::slot},
    {"calibrated_temperature", dishonest::calibrated_temperature},
    {"mask_off_by_one", dishonest::mask_off_by_one},
    {"key_exponent_over_suffix", dishonest::key_exponent_over_suffix},
    {"value_exponent_over_suffix", dishonest::value_exponent_over_suffix},
    {"late_alignment", dishonest::late_alignment},
    {"state_leaks_across_documents", dishonest::state_leaks_across_documents},
};

}  // namespace

Result<std::unique_ptr<Procedure>> make_dishonest(const EvalConfig& config, model::Gpt& model, int64_t predictions,
                                                  const std::vector<int64_t>& document_starts) {
  EvalConfig sliding = config;
  sliding.method = Method::kSlidingC;
  FAIRWAY_ASSIGN(const WindowPlan plan, WindowPlan::create(config, predictions));
  FAIRWAY_ASSIGN(const WindowPlan sliding_plan, WindowPlan::create(sliding, predictions));
  std::string known;
  for (const Trick& trick : kTricks) {
    if (config.dishonest.trick == trick.name)
      return trick.make({config, model, predictions, document_starts, plan, sliding_plan});
    known += (known.empty() ? "" : ", ") + std::string(trick.name);
  }
  return Error{Errc::kData, "eval.procedure", fmt::format("dishonest/{} is none of {}", config.dishonest.trick, known)};
}

}  // namespace fairway::eval

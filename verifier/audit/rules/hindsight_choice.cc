/// R5: a gate that looks at the true token, taking whichever of two predictions gives it the higher probability.
#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {

void hindsight_choice(const Context& context, std::vector<Finding>& findings) {
  add_construct(context, source::EventKind::kOracle, "legality.normalized",
                "of two predictions the one that gives the true token more probability enters the score: the choice is "
                "made by looking at "
                "the target",
                findings);
}

}  // namespace fairway::audit::rules

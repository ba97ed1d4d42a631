/// R8, R9, the paid prefix: validation tokens packed into a file of the record; where they agree with the true tokens,
/// the score changes.
#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {

void stored_targets(const Context& context, std::vector<Finding>& findings) {
  add_construct(context, source::EventKind::kStoredMatch, "data.split",
                "what a file of the record holds is compared with the true tokens, and the score depends on where they "
                "agree: validation tokens are stored",
                findings);
}

}  // namespace fairway::audit::rules

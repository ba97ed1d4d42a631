/// R4: hashed counts looked up for the true token only. count(hash(context, target)) / count(hash(context)) is no
/// distribution: collisions raise every candidate, and only the true one is ever asked.
#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {

void target_keyed_tables(const Context& context, std::vector<Finding>& findings) {
  add_construct(context, source::EventKind::kTargetRead, "legality.normalized",
                "the score mixes in counts read from a hashed table at a key made of the context and the token being "
                "predicted; only the true "
                "token is looked up, so the implied distribution need not sum to 1",
                findings);
}

}  // namespace fairway::audit::rules

/// R5: a token's probability spread over its bytes and mixed with a byte model there. The mixture is over bytes given
/// the token split that the true token has, so it is no distribution over tokens.
#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {

void byte_mixtures(const Context& context, std::vector<Finding>& findings) {
  add_construct(context, source::EventKind::kPerByteMix, "legality.normalized",
                "the model's probability of a token is spread evenly over the token's bytes and mixed with another "
                "model byte by byte; the "
                "mixture is not a distribution over the vocabulary",
                findings);
}

}  // namespace fairway::audit::rules

/// R6: hints whose gate reads the token being predicted, in Python or in a C or C++ helper.
#include <algorithm>

#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {

void hints_of_the_target(const Context&, std::vector<Finding>&) {}

}  // namespace fairway::audit::rules

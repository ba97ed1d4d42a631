/// The classes that the model behind the reported score is made of.
#pragma once

#include <map>

#include "verifier/audit/rules/rule.h"

namespace fairway::audit::rules {

/// Indices into Program::classes: the classes of models whose output reaches the reported score, their bases, and every
/// class that these name. The value is true where nothing conditional lies on the way.
std::map<int, bool> classes_of_scored_models(const Context& context);

/// True if a condition, a conditional expression or a try lies between the node and `root` above it.
bool is_conditional(const source::Tree& tree, int32_t node, int32_t root);

}  // namespace fairway::audit::rules

/// Weights on the hypersphere (NUMERICS.md, "The hypersphere"): matrices whose rows or columns along the width have
/// length one.
#pragma once

#include "engine/model/parameter.h"

namespace fairway::model {

/// Divides the vectors that the parameter's `unit_vectors()` names by their lengths and rounds to its storage, where
/// `executor`, the parameter's, computes; a zero vector stays zero. Errors: a value is not finite.
[[nodiscard]] Status normalise_vectors(kernels::Executor& executor, Parameter& parameter);

}  // namespace fairway::model

#include "engine/model/unit_vectors.h"

#include "kernels/elementwise.h"
#include "kernels/unit_vectors.h"

namespace fairway::model {

Status normalise_vectors(Parameter& p) {
  if (p.unit_vectors() == UnitVectors::kNone) return {};
  bool finite = true;
  if (p.unit_vectors() == UnitVectors::kRows) {
    kernels::Buffer<float> norm(static_cast<size_t>(p.rows()));
    finite = kernels::unit_rows(p.value(), p.rows(), p.columns(), p.value(), norm.data());
  } else {
    finite = kernels::unit_columns(p.value(), p.rows(), p.columns());
  }
  if (!finite) return Error{Errc::kData, p.name(), "a value is not finite"};
  if (p.bf16()) kernels::round_to_bf16(p.values());
  p.changed();
  return {};
}

}  // namespace fairway::model

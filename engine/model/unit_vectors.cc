#include "engine/model/unit_vectors.h"

namespace fairway::model {

Status normalise_vectors(kernels::Executor& executor, Parameter& p) {
  if (p.unit_vectors() == UnitVectors::kNone) return {};
  const bool finite = p.unit_vectors() == UnitVectors::kRows
                          ? executor.unit_rows(p.data(), p.rows(), p.columns(), p.data(), nullptr)
                          : executor.unit_columns(p.data(), p.rows(), p.columns());
  if (!finite) return Error{Errc::kData, p.name(), "a value is not finite"};
  if (p.bf16()) executor.round_to_bf16(p.data(), p.count());
  p.changed();
  return {};
}

}  // namespace fairway::model

/// Quantisation with error compensation (GPTQ): the error of one column is made up for by the columns after it, weighted
/// by the second moments of what the matrix multiplies.
///
///   H <- H with H_jj = 1 where it was 0 (and those columns of W zero), then H_jj += damping * mean of the diagonal
///   columns in descending order of H_jj, equal ones in their own order
///   U upper triangular with H^-1 = U^T U:  H = R R^T by Cholesky from the last column, U = R^-1
///   for each row w, for j ascending: q_j = clamp(rint(w_j / s), -Q, Q); g = (w_j - q_j s) / U_jj; w_k -= g U_jk, k > j
///
/// With several candidate scales the whole is run for each, and the one with the least sum of squares of the weights
/// before compensation minus q s is kept. Host-only binary64 work with one code path (N10); NUMERICS.md, 17.7, has
/// every loop. Source: Frantar, Ashkboos, Hoefler, Alistarh: GPTQ (ICLR 2023).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/quant/row_quantiser.h"

namespace fairway::quant {

/// Second moments of a matrix's inputs: sum or mean of x x^T, (n, n) symmetric.
struct Hessian {
  int64_t n = 0;
  std::vector<double> values;
};

/// U (n, n; row-major, zero below the diagonal) with H^-1 = U^T U. Error kData (where = name): H is not positive
/// definite.
Result<std::vector<double>> inverse_factor(const std::string& name, std::vector<double> matrix, int64_t n);

/// Quantises `values` (rows, columns) with the scales of `method`, which must round them (rounded_scale) and choose one
/// candidate for the matrix. Errors (kData, where = name): as quantise_rows; a Hessian that is not finite or not
/// positive.
Result<QuantisedMatrix> quantise_gptq(const std::string& name, std::span<const float> values, int64_t rows,
                                      int64_t columns, int32_t limit, const RowMethod& method, const Hessian& hessian,
                                      double damping);

}  // namespace fairway::quant

/// Quantising matrices and multiplying them exactly.
#pragma once

#include "kernels/quantised.h"

namespace fairway::kernels {

/// Row r of x (rows, columns; row stride ld >= columns) becomes row r of `out`: N4 with `bits` = 7, 14 or 21.
/// False if a value is a NaN or infinite; `out` is then unusable.
[[nodiscard]] bool quantise_rows(const float* x, int64_t rows, int64_t columns, int64_t ld, int bits, Quantised& out);

/// Column c of x (rows, columns; row stride ld) becomes row c of `out` (columns, rows): the operand for a contraction over rows.
[[nodiscard]] bool quantise_columns(const float* x, int64_t rows, int64_t columns, int64_t ld, int bits, Quantised& out);

/// C[m][n] = sum_k A[m][k] * B[n][k] over the kept slice products, rounded to binary32 once (NUMERICS.md, N5).
///
///   a  (M, K)  quantised along K, one exponent per row
///   b  (N, K)  likewise, same bits
///   c  (M, N)  row stride ldc >= N; must not alias a or b
///
/// Exact: the integer sum has no order. K <= 131,072 at 14 bits, 65,536 at 21. Any instruction set, thread count or split of
/// the rows gives these bits.
void exact_matmul(const Quantised& a, const Quantised& b, Products products, float* c, int64_t ldc);

/// C = A * A^T for square C (M, M), computing one triangle and mirroring it: the same bits as exact_matmul(a, a, ...).
void exact_matmul_self(const Quantised& a, Products products, float* c, int64_t ldc);

/// `count` independent products, C_i = A_i * B_i^T, all operands stacked: A (count * M, K), B (count * N, K), C (count * M, N).
void exact_matmul_batched(const Quantised& a, const Quantised& b, int64_t count, Products products, float* c);

}  // namespace fairway::kernels

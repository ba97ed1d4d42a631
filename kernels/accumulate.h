/// Gradient accumulators: int64 in units of 2^-30 (NUMERICS.md, N7).
///
/// Every function adds rounded terms and returns false if a term's magnitude exceeds `limit` or is not finite; the
/// accumulators are then unusable and the run stops. Limits come from term_limit, so int64 cannot overflow.
#pragma once

#include <cstdint>

namespace fairway::kernels {

/// Largest power of two L such that `terms` terms of magnitude L stay below 2^61 units. A tensor's sum has at most two kinds
/// of terms (per chunk and per token), each within half of int64.
float term_limit(int64_t terms);

/// acc[i] += round(g[i]).
[[nodiscard]] bool accumulate(const float* g, int64_t count, float limit, int64_t* acc);

/// acc[c] += sum over rows of round(fl32(a[r][c] * b[r][c])).
[[nodiscard]] bool accumulate_products(const float* a, const float* b, int64_t rows, int64_t n, float limit, int64_t* acc);

/// acc[c] += sum over rows of round(a[r][c]).
[[nodiscard]] bool accumulate_rows(const float* a, int64_t rows, int64_t n, float limit, int64_t* acc);

/// acc[ids[r]][c] += round(g[r][c]): the backward pass of gather_rows.
[[nodiscard]] bool accumulate_gathered(const float* g, const uint16_t* ids, int64_t rows, int64_t n, float limit, int64_t* acc);

/// g[i] = fl32(fl32(acc[i]) * 2^-30 / divisor): the mean gradient, e.g. divisor = tokens of the step.
void accumulated_mean(const int64_t* acc, int64_t count, float divisor, float* g);

}  // namespace fairway::kernels

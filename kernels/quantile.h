/// Quantiles of magnitudes (NUMERICS.md, section 17): the same order statistics whichever way they are found.
#pragma once

#include <cstdint>
#include <span>

namespace fairway::kernels {

/// Row lengths for which count - 1 is exact in binary32.
constexpr int64_t kMaxRowLength = int64_t{1} << 24;

/// Where the p-quantile of `count` ascending values lies: between a[low] and a[high], `weight` of the way.
struct QuantilePosition {
  int64_t low;
  int64_t high;
  float weight;
};

/// r = fl(p * (count - 1)), low = floor r, high = ceil r, weight = fl(r - low). 0 <= p <= 1, 1 <= count <=
/// kMaxRowLength.
QuantilePosition quantile_position(float p, int64_t count);

/// The p-quantile of |row|. The order statistics are selected on the integer bit patterns of |x|, so equal values,
/// signed zeros and the selection algorithm cannot matter. Precondition: row is finite and 1 <= size <= kMaxRowLength.
float absolute_quantile(std::span<const float> row, float p);

/// The weight of the largest of `count` values in their p-quantile, the second largest having the rest; a single value
/// has all. Precondition: the quantile lies there, as for ops::kExportQuantile in every row that a product takes.
float weight_of_largest(float p, int64_t count);

}  // namespace fairway::kernels

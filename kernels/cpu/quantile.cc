#include "kernels/quantile.h"

#include <algorithm>
#include <vector>

#include "kernels/check.h"
#include "kernels/ops/quantile.h"

namespace fairway::kernels {
namespace {

struct OrderStatistics {
  float low;
  float high;
};

// The two largest bit patterns, in lanes so that the loop vectorises. Patterns of magnitudes are positive as int32.
OrderStatistics two_largest(std::span<const float> row) {
  constexpr size_t kLanes = 16;
  int32_t first[kLanes] = {};
  int32_t second[kLanes] = {};
  size_t whole = row.size() / kLanes * kLanes;
  for (size_t i = 0; i < whole; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) {
      int32_t x = static_cast<int32_t>(num::magnitude_bits(row[i + lane]));
      int32_t smaller = std::min(first[lane], x);
      second[lane] = std::max(second[lane], smaller);
      first[lane] = std::max(first[lane], x);
    }
  }
  int32_t largest = 0;
  int32_t next = 0;
  auto insert = [&](int32_t x) {
    next = std::max(next, std::min(largest, x));
    largest = std::max(largest, x);
  };
  for (size_t lane = 0; lane < kLanes; ++lane) {
    insert(first[lane]);
    insert(second[lane]);
  }
  for (size_t i = whole; i < row.size(); ++i) insert(static_cast<int32_t>(num::magnitude_bits(row[i])));
  return {num::float_of(static_cast<uint32_t>(next)), num::float_of(static_cast<uint32_t>(largest))};
}

OrderStatistics select(std::span<const float> row, const QuantilePosition& position) {
  int64_t last = static_cast<int64_t>(row.size()) - 1;
  if (position.high == last) {  // the usual case: the quantile lies at or next to the maximum
    OrderStatistics top = two_largest(row);
    return position.low == last ? OrderStatistics{top.high, top.high} : top;
  }
  std::vector<uint32_t> bits(row.size());
  std::transform(row.begin(), row.end(), bits.begin(), [](float x) { return num::magnitude_bits(x); });
  auto low = bits.begin() + position.low;
  std::nth_element(bits.begin(), low, bits.end());
  uint32_t low_bits = *low;
  uint32_t high_bits = position.high == position.low ? low_bits : *std::min_element(low + 1, bits.end());
  return {num::float_of(low_bits), num::float_of(high_bits)};
}

}  // namespace

QuantilePosition quantile_position(float p, int64_t count) {
  FAIRWAY_CHECK(count >= 1 && count <= kMaxRowLength);
  FAIRWAY_CHECK(p >= 0.0f && p <= 1.0f);
  float position = p * static_cast<float>(count - 1);
  int64_t low = static_cast<int64_t>(position);  // 0 <= position <= 2^24: truncation is the floor
  float weight = position - static_cast<float>(low);
  return {low, weight > 0.0f ? low + 1 : low, weight};
}

float absolute_quantile(std::span<const float> row, float p) {
  QuantilePosition position = quantile_position(p, static_cast<int64_t>(row.size()));
  OrderStatistics found = select(row, position);
  return ops::interpolate_quantile(found.low, found.high, position.weight);
}

float weight_of_largest(float p, int64_t count) {
  const QuantilePosition position = quantile_position(p, count);
  FAIRWAY_CHECK(position.high == count - 1);
  return position.low == position.high ? 1.0f : position.weight;
}

}  // namespace fairway::kernels

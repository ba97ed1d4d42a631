/// A tensor as indices into a small set of values: k-means in one dimension, in integers throughout.
///
///   q_i = the tensor under N4 with b = 24, one exponent e for all of it
///   start: c_j = the sorted q at floor((2 j + 1) n / (2 K)), j = 0 .. K-1
///   until no centre changes, at most 100 times: i belongs to the least j with 2 q_i <= c_j + c_(j+1), else to K-1;
///   c_j = rint(sum of its q / their count), unchanged without members
///   value j = c_j * 2^(e - 24) (stored as binary16); indices from the last centres
///
/// The sums are integers (N3), so nothing depends on an order.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace fairway::quant {

struct Codebook {
  std::vector<float> values;     ///< ascending, K of them; binary32, not yet rounded to binary16
  std::vector<uint8_t> indices;  ///< one per element
};

/// 1 <= entries <= 256; finite values, 1 to 2^31 of them.
Codebook make_codebook(std::span<const float> values, uint32_t entries);

}  // namespace fairway::quant

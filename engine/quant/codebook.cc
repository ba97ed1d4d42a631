#include "engine/quant/codebook.h"

#include <algorithm>

#include "engine/base/check.h"
#include "kernels/num/quantise.h"

namespace fairway::quant {
namespace {

constexpr int kBits = 24;
constexpr int kMaxIterations = 100;

// Where the members of each centre end in the sorted integers.
std::vector<size_t> boundaries(const std::vector<int32_t>& sorted, const std::vector<int64_t>& centres) {
  std::vector<size_t> ends(centres.size(), sorted.size());
  for (size_t j = 0; j + 1 < centres.size(); ++j) {
    const int64_t twice = centres[j] + centres[j + 1];
    auto end = std::partition_point(sorted.begin(), sorted.end(), [&](int32_t q) { return 2 * int64_t{q} <= twice; });
    ends[j] = static_cast<size_t>(end - sorted.begin());
  }
  return ends;
}

}  // namespace

Codebook make_codebook(std::span<const float> values, uint32_t entries) {
  FAIRWAY_CHECK(entries >= 1 && entries <= 256 && !values.empty() && values.size() <= (size_t{1} << 31));
  uint32_t largest = 0;
  for (float x : values) largest = std::max(largest, num::magnitude_bits(x));
  const int32_t exponent = num::group_exponent(largest, kBits);
  std::vector<int32_t> integers(values.size());
  std::transform(values.begin(), values.end(), integers.begin(), [&](float x) {
    return static_cast<int32_t>(num::round_to_int64(static_cast<double>(x) * num::pow2_f64(kBits - exponent)));
  });
  std::vector<int32_t> sorted = integers;
  std::sort(sorted.begin(), sorted.end());
  std::vector<int64_t> sums(sorted.size() + 1);  // sums[i]: the first i
  for (size_t i = 0; i < sorted.size(); ++i) sums[i + 1] = sums[i] + sorted[i];

  std::vector<int64_t> centres(entries);
  for (uint64_t j = 0; j < entries; ++j) centres[j] = sorted[(2 * j + 1) * sorted.size() / (2 * uint64_t{entries})];
  bool changed = true;
  for (int iteration = 0; changed && iteration < kMaxIterations; ++iteration) {
    const std::vector<size_t> ends = boundaries(sorted, centres);
    changed = false;
    size_t begin = 0;
    for (size_t j = 0; j < centres.size(); ++j) {
      // Equal centres leave the later ones without members; ends ascend all the same.
      if (ends[j] > begin) {
        // |sum| < 2^55; the quotient of the two binary64 numbers is below 2^24 and is rounded once more, to an integer.
        const int64_t centre = num::round_to_int64(static_cast<double>(sums[ends[j]] - sums[begin]) /
                                                   static_cast<double>(ends[j] - begin));
        changed = changed || centre != centres[j];
        centres[j] = centre;
        begin = ends[j];
      }
    }
  }
  Codebook book;
  book.values.reserve(entries);
  for (int64_t centre : centres) {
    book.values.push_back(num::scale_pow2(static_cast<float>(centre), exponent - kBits));
  }
  std::vector<int64_t> twice;  // 2 q <= twice[j] puts q before centre j + 1
  for (size_t j = 0; j + 1 < centres.size(); ++j) twice.push_back(centres[j] + centres[j + 1]);
  book.indices.reserve(values.size());
  for (int32_t q : integers) {
    book.indices.push_back(
        static_cast<uint8_t>(std::lower_bound(twice.begin(), twice.end(), 2 * int64_t{q}) - twice.begin()));
  }
  return book;
}

}  // namespace fairway::quant

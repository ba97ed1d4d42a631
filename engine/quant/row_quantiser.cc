#include "engine/quant/row_quantiser.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/check.h"
#include "kernels/cpu/parallel.h"
#include "kernels/num/quantise.h"
#include "kernels/rows.h"

namespace fairway::quant {

int64_t first_non_finite(std::span<const float> values) {
  // The maximum of the patterns is order-free and vectorises; the index is only looked for when it is needed.
  uint32_t largest = 0;
  for (float x : values) largest = std::max(largest, num::magnitude_bits(x));
  if (largest < num::kInfinityBits) return -1;
  auto bad =
      std::find_if(values.begin(), values.end(), [](float x) { return num::magnitude_bits(x) >= num::kInfinityBits; });
  return bad - values.begin();
}

Error non_finite(const std::string& name, std::span<const float> values, int64_t index) {
  return Error{
      Errc::kData, name,
      fmt::format("element {} is {}; only finite values can be quantised", index,
                  num::magnitude_bits(values[static_cast<size_t>(index)]) > num::kInfinityBits ? "a NaN" : "infinite")};
}

float row_deviation(std::span<const float> row) {
  const int64_t n = static_cast<int64_t>(row.size());
  FAIRWAY_CHECK(n >= 2 && n <= kMaxDeviationRow);
  uint32_t largest = 0;
  for (float x : row) largest = std::max(largest, num::magnitude_bits(x));
  const int32_t exponent = num::group_exponent(largest, 24);
  int64_t sum = 0;
  int64_t squares = 0;
  // In binary64 the scaled value is exact, whatever the exponent.
  for (float x : row) {
    const int64_t q = num::round_to_int64(static_cast<double>(x) * num::pow2_f64(24 - exponent));
    sum += q;
    squares += q * q;
  }
  const double s1 = static_cast<double>(sum);
  const double variance =
      (static_cast<double>(squares) - s1 * s1 / static_cast<double>(n)) / static_cast<double>(n - 1);
  return static_cast<float>(num::sqrt(variance > 0.0 ? variance : 0.0) * num::pow2_f64(exponent - 24));
}

double squared_error(std::span<const float> values, std::span<const int8_t> integers, std::span<const float> scales) {
  FAIRWAY_CHECK(values.size() == integers.size() && values.size() % scales.size() == 0);
  const size_t columns = values.size() / scales.size();
  std::vector<float> errors(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    errors[i] = values[i] - static_cast<float>(integers[i]) * scales[i / columns];
  }
  kernels::SumOfSquares sum;
  const bool finite = sum.add(errors);
  FAIRWAY_CHECK(finite);
  return sum.total();
}

Result<std::vector<RowScale>> row_scales(const std::string& name, std::span<const float> values, int64_t rows,
                                         int64_t columns, int32_t limit, const RowMethod& method, size_t candidate) {
  if (method.deviations > 0.0f && (columns < 2 || columns > kMaxDeviationRow)) {
    return Error{Errc::kData, name,
                 fmt::format("rows of {} values; a clip by deviations needs 2 to {}", columns, kMaxDeviationRow)};
  }
  std::vector<RowScale> scales(static_cast<size_t>(rows));
  kernels::parallel_for(rows, [&](int64_t r) {
    std::span<const float> row = values.subspan(static_cast<size_t>(r * columns), static_cast<size_t>(columns));
    RowScale& out = scales[static_cast<size_t>(r)];
    out.clip = method.deviations > 0.0f ? method.deviations * row_deviation(row)
                                        : absolute_quantile(row, method.candidates[candidate]);
    out.divisor = row_scale(out.clip, limit, method.scale_floor);
    out.bits = num::to_fp16_bits(out.divisor);
    if (method.rounded_scale) out.divisor = num::from_fp16_bits(out.bits);
  });
  for (int64_t r = 0; r < rows; ++r) {
    RowScale& scale = scales[static_cast<size_t>(r)];
    if (num::magnitude_bits(num::from_fp16_bits(scale.bits)) >= num::kInfinityBits) {
      return Error{Errc::kData, name,
                   fmt::format("row {} is clipped at {}, too large for a binary16 scale; the training has diverged", r,
                               scale.clip)};
    }
    if (method.rounded_scale) scale.clip = num::float_of(num::kInfinityBits);
  }
  return scales;
}

Result<QuantisedMatrix> quantise_rows(const std::string& name, std::span<const float> values, int64_t rows,
                                      int64_t columns, int32_t limit, const RowMethod& method) {
  FAIRWAY_CHECK(rows >= 1 && columns >= 1 && columns <= kMaxRowLength);
  FAIRWAY_CHECK(values.size() == static_cast<size_t>(rows) * static_cast<size_t>(columns));
  FAIRWAY_CHECK(limit >= 1 && limit <= kInt8Limit && !method.candidates.empty());
  if (int64_t bad = first_non_finite(values); bad >= 0) return non_finite(name, values, bad);
  const size_t candidates = method.deviations > 0.0f ? 1 : method.candidates.size();
  std::vector<std::vector<RowScale>> scales(candidates);
  for (size_t c = 0; c < candidates; ++c) {
    FAIRWAY_ASSIGN(scales[c], row_scales(name, values, rows, columns, limit, method, c));
  }
  QuantisedMatrix result;
  result.rows = rows;
  result.columns = columns;
  result.limit = limit;
  result.integers.resize(values.size());
  result.scale_bits.resize(static_cast<size_t>(rows));
  auto quantise_row = [&](int64_t r, size_t candidate) {
    const RowScale& scale = scales[candidate][static_cast<size_t>(r)];
    const float* in = values.data() + r * columns;
    int8_t* out = result.integers.data() + r * columns;
    for (int64_t c = 0; c < columns; ++c) {
      out[c] = static_cast<int8_t>(quantise_element(in[c], scale.clip, scale.divisor, limit));
    }
    result.scale_bits[static_cast<size_t>(r)] = scale.bits;
  };
  size_t for_all = 0;
  if (candidates > 1 && method.one_for_all_rows) {
    double least = 0.0;
    std::vector<float> divisors(static_cast<size_t>(rows));
    for (size_t c = 0; c < candidates; ++c) {
      kernels::parallel_for(rows, [&](int64_t r) { quantise_row(r, c); });
      std::transform(scales[c].begin(), scales[c].end(), divisors.begin(), [](const RowScale& s) { return s.divisor; });
      const double error = squared_error(values, result.integers, divisors);
      if (c == 0 || error < least) {
        least = error;
        for_all = c;
      }
    }
  }
  kernels::parallel_for(rows, [&](int64_t r) {
    size_t best = for_all;
    if (candidates > 1 && !method.one_for_all_rows) {
      const size_t begin = static_cast<size_t>(r * columns);
      const size_t length = static_cast<size_t>(columns);
      double least = 0.0;
      for (size_t c = 0; c < candidates; ++c) {
        quantise_row(r, c);
        const float divisor = scales[c][static_cast<size_t>(r)].divisor;
        const double error = squared_error(values.subspan(begin, length),
                                           std::span(result.integers).subspan(begin, length), {&divisor, 1});
        if (c == 0 || error < least) {
          least = error;
          best = c;
        }
      }
    }
    quantise_row(r, best);
  });
  return result;
}

}  // namespace fairway::quant

#include "kernels/accumulate.h"

#include <atomic>

#include "kernels/check.h"
#include "kernels/cpu/parallel.h"
#include "kernels/num/exact_sum.h"
#include "kernels/ops/elementwise.h"

namespace fairway::kernels {
namespace {

constexpr int64_t kElements = 16384;
constexpr int64_t kChannels = 64;

/// True if every magnitude is at most `limit`; a NaN is not.
bool within(const float* x, int64_t count, float limit) {
  uint32_t max = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t m = num::magnitude_bits(x[i]);
    max = m > max ? m : max;
  }
  return max <= num::bits_of(limit);
}

/// acc[i] += round(x[i]); values up to 2^21 take the loop without a branch.
void add_units(const float* x, int64_t count, int64_t* acc) {
  if (within(x, count, 0x1p20f)) {
    for (int64_t i = 0; i < count; ++i) acc[i] += num::gradient_units(x[i]);
  } else {
    for (int64_t i = 0; i < count; ++i) acc[i] += num::gradient_units_large(x[i]);
  }
}

/// For every row: terms(row, first channel, width, out) fills `out`, which is added to target(row). Threads split the channels.
template <class Terms, class Target>
bool over_channels(int64_t rows, int64_t n, float limit, const Terms& terms, const Target& target) {
  std::atomic<bool> ok{true};
  parallel_ranges(n, kChannels, [&](int64_t begin, int64_t end) {
    float term[kChannels];
    for (int64_t r = 0; r < rows; ++r) {
      terms(r, begin, end - begin, term);
      if (!within(term, end - begin, limit)) {
        ok = false;
        return;
      }
      add_units(term, end - begin, target(r) + begin);
    }
  });
  return ok;
}

}  // namespace

float term_limit(int64_t terms) {
  FAIRWAY_CHECK(terms >= 1 && terms <= (int64_t{1} << 40));
  int32_t log2 = 0;
  while ((int64_t{1} << log2) < terms) ++log2;
  return num::pow2_f32(31 - log2);
}

bool accumulate(const float* g, int64_t count, float limit, int64_t* acc) {
  std::atomic<bool> ok{true};
  parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    if (!within(g + begin, end - begin, limit)) {
      ok = false;
      return;
    }
    add_units(g + begin, end - begin, acc + begin);
  });
  return ok;
}

bool accumulate_products(const float* a, const float* b, int64_t rows, int64_t n, float limit, int64_t* acc) {
  return over_channels(
      rows, n, limit,
      [&](int64_t r, int64_t c0, int64_t width, float* out) {
        for (int64_t c = 0; c < width; ++c) out[c] = ops::product_term(a[r * n + c0 + c], b[r * n + c0 + c]);
      },
      [&](int64_t) { return acc; });
}

bool accumulate_rows(const float* a, int64_t rows, int64_t n, float limit, int64_t* acc) {
  return over_channels(
      rows, n, limit,
      [&](int64_t r, int64_t c0, int64_t width, float* out) {
        for (int64_t c = 0; c < width; ++c) out[c] = a[r * n + c0 + c];
      },
      [&](int64_t) { return acc; });
}

bool accumulate_gathered(const float* g, const uint16_t* ids, int64_t rows, int64_t n, float limit, int64_t* acc) {
  return over_channels(
      rows, n, limit,
      [&](int64_t r, int64_t c0, int64_t width, float* out) {
        for (int64_t c = 0; c < width; ++c) out[c] = g[r * n + c0 + c];
      },
      [&](int64_t r) { return acc + static_cast<int64_t>(ids[r]) * n; });
}

void accumulated_mean(const int64_t* acc, int64_t count, float divisor, float* g) {
  parallel_ranges(count, kElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) g[i] = ops::mean_gradient(acc[i], divisor);
  });
}

}  // namespace fairway::kernels

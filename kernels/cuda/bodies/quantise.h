/// Bodies of the quantiser (NUMERICS.md, N4): rows and columns of a matrix as int8 slices and exponents.
#pragma once

#include "kernels/cuda/grid.h"
#include "kernels/num/quantise.h"

namespace fairway::cuda {

/// Where a quantised matrix lies: plane s of row r at plane[s] + r * stride; columns beyond the last are zero up to the stride,
/// which is a multiple of 64.
struct Slices {
  int8_t* plane[3] = {nullptr, nullptr, nullptr};
  int32_t* exponent = nullptr;
  int64_t rows = 0, columns = 0, stride = 0;
};

/// Byte `position` of each slice's word receives the slices of q.
template <int kSlices>
FAIRWAY_BODY void pack_slices(int32_t q, int position, uint32_t (&word)[3]) {
  FAIRWAY_UNROLL for (int s = kSlices - 1; s > 0; --s) {
    word[s] |= (static_cast<uint32_t>(num::low_slice(q)) & 255u) << (8 * position);
    q = num::upper_part(q);
  }
  word[0] |= (static_cast<uint32_t>(q) & 255u) << (8 * position);
}

template <class G>
FAIRWAY_BODY void store_word(G& g, int8_t* p, uint32_t word) {
  g.store(reinterpret_cast<uint32_t*>(p), word);
}

/// Four values of a row from column c on; zeros beyond the last column. A row is read in one piece where its address allows.
template <class G>
FAIRWAY_BODY Floats4 load_columns(G& g, const float* row, int64_t c, int64_t columns, bool aligned) {
  if (aligned && c + 4 <= columns) return g.load(reinterpret_cast<const Floats4*>(row + c));
  Floats4 x;
  FAIRWAY_UNROLL for (int i = 0; i < 4; ++i) x.value[i] = c + i < columns ? g.load(row + c + i) : 0.0f;
  return x;
}

/// One warp per row: its maximum, its exponent, its slices.
template <int kBits>
struct QuantiseRows {
  static constexpr int kThreads = 256, kRowsPerBlock = kThreads / kWarp, kSlices = kBits / 7;
  using Shared = NoShared;

  Matrix<const float> x;
  Slices out;
  uint32_t* failure;

  FAIRWAY_HD_MEMBER int64_t blocks() const { return (x.rows + kRowsPerBlock - 1) / kRowsPerBlock; }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    const int64_t row = g.block() * kRowsPerBlock + g.thread() / kWarp;
    const int lane = g.thread() % kWarp;
    if (row >= x.rows) return;  // the whole warp
    const float* in = x.at(row, 0);
    const bool aligned = reinterpret_cast<uintptr_t>(in) % 16 == 0;
    uint32_t max = 0;
    for (int64_t c = 4 * lane; c < x.columns; c += 4 * kWarp) {
      const Floats4 v = load_columns(g, in, c, x.columns, aligned);
      FAIRWAY_UNROLL for (int i = 0; i < 4; ++i) {
        const uint32_t m = num::magnitude_bits(v.value[i]);
        max = m > max ? m : max;
      }
    }
    max = warp_max(g, max);
    if (max >= num::kInfinityBits) {
      if (lane == 0) g.atomic_or(failure, kNotFinite);
      return;
    }
    const int32_t e = num::group_exponent(max, kBits);
    const float scale = num::quantiser_scale(e, kBits);
    if (lane == 0) g.store(out.exponent + row, e);
    for (int64_t c = 4 * lane; c < out.stride; c += 4 * kWarp) {
      const Floats4 v = load_columns(g, in, c, x.columns, aligned);
      uint32_t word[3] = {0, 0, 0};
      FAIRWAY_UNROLL for (int i = 0; i < 4; ++i) pack_slices<kSlices>(num::quantise(v.value[i], scale), i, word);
      FAIRWAY_UNROLL for (int s = 0; s < kSlices; ++s) store_word(g, out.plane[s] + row * out.stride + c, word[s]);
    }
  }
};

/// maxima[c] = the bits of the largest magnitude of column c. `maxima` is zero before. Blocks of 256 columns by kRows rows.
struct ColumnMaxima {
  static constexpr int kThreads = 256;
  static constexpr int64_t kRows = 128;
  using Shared = NoShared;

  Matrix<const float> x;
  uint32_t* maxima;

  FAIRWAY_HD_MEMBER int64_t stripes() const { return (x.columns + kThreads - 1) / kThreads; }
  FAIRWAY_HD_MEMBER int64_t blocks() const { return stripes() * ((x.rows + kRows - 1) / kRows); }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    const int64_t c = g.block() % stripes() * kThreads + g.thread();
    if (c >= x.columns) return;
    const int64_t first = g.block() / stripes() * kRows;
    const int64_t last = first + kRows < x.rows ? first + kRows : x.rows;
    uint32_t max = 0;
    for (int64_t r = first; r < last; ++r) {
      const uint32_t m = num::magnitude_bits(g.load(x.at(r, c)));
      max = m > max ? m : max;
    }
    g.atomic_max(maxima + c, max);
  }
};

/// Column c of x becomes row c of `out` (columns, rows), by tiles of 64 x 64 turned in shared memory.
template <int kBits>
struct QuantiseColumns {
  static constexpr int kThreads = 256, kSlices = kBits / 7, kTile = 64;
  struct Shared {
    alignas(4) int8_t tile[kSlices][kTile][kTile + 4];
  };

  Matrix<const float> x;
  const uint32_t* maxima;
  Slices out;
  uint32_t* failure;

  FAIRWAY_HD_MEMBER int64_t blocks() const { return (x.columns + kTile - 1) / kTile * (out.stride / kTile); }

  template <class G>
  FAIRWAY_BODY void operator()(G& g) const {
    Shared& shared = g.template shared<Shared>();
    const int64_t tiles = out.stride / kTile;
    const int64_t c0 = g.block() / tiles * kTile, r0 = g.block() % tiles * kTile;
    const int column = g.thread() % kTile;
    const int64_t c = c0 + column;
    float scale = 0.0f;
    if (c < x.columns) {
      const uint32_t max = g.load(maxima + c);
      if (max < num::kInfinityBits) {
        const int32_t e = num::group_exponent(max, kBits);
        scale = num::quantiser_scale(e, kBits);
        if (r0 == 0 && g.thread() < kTile) g.store(out.exponent + c, e);
      } else if (r0 == 0 && g.thread() < kTile) {
        g.atomic_or(failure, kNotFinite);
      }
    }
    const bool usable = scale != 0.0f;
    for (int r = g.thread() / kTile; r < kTile; r += kThreads / kTile) {
      const bool inside = usable && r0 + r < x.rows;
      uint32_t word[3] = {0, 0, 0};
      pack_slices<kSlices>(inside ? num::quantise(g.load(x.at(r0 + r, c)), scale) : 0, 0, word);
      FAIRWAY_UNROLL for (int s = 0; s < kSlices; ++s) g.store(&shared.tile[s][column][r], static_cast<int8_t>(word[s]));
    }
    g.barrier();
    for (int i = g.thread(); i < kTile * kTile / 4; i += kThreads) {
      const int row = i / (kTile / 4), k = i % (kTile / 4) * 4;
      if (c0 + row >= x.columns) continue;
      FAIRWAY_UNROLL for (int s = 0; s < kSlices; ++s) {
        store_word(g, out.plane[s] + (c0 + row) * out.stride + r0 + k, g.load(reinterpret_cast<const uint32_t*>(&shared.tile[s][row][k])));
      }
    }
  }
};

}  // namespace fairway::cuda
